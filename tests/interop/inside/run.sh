# Second stage, on Debian's user space: load what a node or a backend may need, run the tests, power off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root EVENKEEL_GUEST=1 PYTHONDONTWRITEBYTECODE=1
cd "$1" && export PYTHONPATH=$PWD
for module in veth bridge tun ip_gre ip6_gre; do modprobe "$module"; done
ip link set lo up
"$2" -m pytest tests/interop/inside --continue-on-collection-errors -p no:cacheprovider --junitxml=/results/report.xml
sync
echo o > /proc/sysrq-trigger
sleep 60
