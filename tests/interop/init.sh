#!/bin/busybox sh
# First process of the guest: this machine's files as they are, read-only below; what the guest writes is gone
# with it, but for /results. The modules to load and all that is {in braces} are filled in by guest.py.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
for module in {modules}; do insmod "/modules/$module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro host /host
mount -t tmpfs -o size=1g changes /changes
mkdir /changes/upper /changes/work
mount -t overlay -o lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work overlay /root
cd /root
mkdir -p proc sys dev run results lib/modules
mount -t proc proc proc
mount -t sysfs sys sys
mount -t bpf bpf sys/fs/bpf
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t devtmpfs dev dev
mkdir -p dev/shm dev/pts
mount -t tmpfs shm dev/shm
mount -t tmpfs run run
mount -o bind /root{unpacked}/lib/modules lib/modules
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 results results
exec switch_root /root /bin/bash {script}
