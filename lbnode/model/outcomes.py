"""What the data plane's counters mean, in a sentence each: for status, metrics and whoever asks why a packet is gone.

Names are those of `lbnode/bpf/layout.h` and `decap_layout.h`; `tests/bpf` compares them with the objects.
"""

from __future__ import annotations

from collections.abc import Mapping

NODE_OUTCOMES: Mapping[str, str] = {
    "forwarded": "sent to the backend that owns its bucket",
    "forwarded_keyed": "sent to the owner, with the key that names earlier owners of its bucket",
    "forwarded_error": "an ICMP error, sent to the backend whose flow it quotes",
    "answered_echo": "an echo request to a VIP, answered here",
    "answered_too_big": "too big for the tunnel: its sender was told the size that fits",
    "pass_not_ip": "neither IPv4 nor IPv6 behind at most two VLAN tags: left to the stack",
    "pass_not_ours": "for another MAC than this interface's: left to the stack",
    "pass_malformed": "a bad IP header: left to the stack, which drops it",
    "pass_not_vip": "for an address that is no VIP: left to the stack",
    "pass_wrong_port": "for no VIP of a VIP's address, and `wrong_port: pass`: left to the stack",
    "drop_wrong_port": "for a port or protocol of a VIP's address that no VIP has",
    "drop_icmp": "ICMP to a VIP that asks for no answer",
    "drop_icmp_quote": "an ICMP error that quotes no flow of any VIP: late, or forged",
    "drop_unanswerable": "to be answered, but sent by or to a group or nobody",
    "drop_echo_limit": "an echo request beyond `echoes_per_s`",
    "drop_error_limit": "too big for the tunnel, and not said: beyond `errors_per_s`",
    "drop_protocol": "neither TCP, UDP nor ICMP",
    "drop_fragment": "a fragment, and the pool hashes ports: `hash: source` takes fragments",
    "drop_truncated": "ends before the length or the header that it names",
    "drop_extensions": "more than six IPv6 extension headers",
    "drop_no_table": "the pool has no table in this kernel yet",
    "drop_no_backend": "nobody serves its bucket: all backends are gone, or too many by health",
    "drop_no_next_hop": "the way to the backend is unknown: no route, or its next hop does not answer",
    "drop_too_big": "too big for the tunnel, and none that may be told (ICMP, a later fragment)",
    "drop_no_headroom": "the driver leaves no room for the outer header: try `xdp_mode: generic`",
    "drop_inconsistent": "the maps contradict each other: a fault of evenkeel, please report",
    "flow_recorded": "beside an outcome: the flow's backend was written down",
    "flow_opened": "beside an outcome: the same of a TCP flow that begins",
    "flow_kept": "beside an outcome: sent to an earlier owner, whose flow it is",
    "flow_named": "beside an outcome: sent to the backend that its QUIC connection id names",
}

AGENT_OUTCOMES: Mapping[str, str] = {
    "untouched": "no GRE for this backend: left to the stack",
    "delivered_in_sync": "the steady state: the sender goes by this agent's epoch, its bucket has no history",
    "delivered_syn": "a new flow, taken here",
    "delivered_held": "a socket here holds the flow",
    "delivered_handshake": "acknowledges what this backend answered to a SYN",
    "delivered_cookie": "brings back a SYN cookie of this backend",
    "delivered_time_wait": "near the end of a flow that was closed here",
    "delivered_udp": "UDP, which shows no owner",
    "delivered_portless": "for a VIP's address, but of no flow: a fragment, a port without VIP, ICMP",
    "delivered_no_chance": "second chance is off, or nobody was seen to listen on the VIP",
    "delivered_last": "nobody is left to be asked: the stack answers, with a reset if it knows no more",
    "forwarded_syn": "a new flow, to its owner: this backend takes none, or was sent it by an old epoch",
    "forwarded_keyed": "to the next backend that may hold the flow, which knows one more",
    "forwarded_keyless": "to the last backend that may hold the flow",
    "forwarded_restarted": "the sender's epoch is another one: once more, along this agent's own",
    "forwarded_named": "to the backend that its QUIC connection id names",
    "drop_stranger": "GRE from an address that is no member of the fleet: forged, or not in the store",
    "drop_truncated": "ends before its headers, or before the lengths that they name",
    "drop_outer": "an outer header with options or extension headers, or a fragment",
    "drop_gre": "another version of GRE, or one with checksum, routing or sequence number",
    "drop_inner": "carries neither IPv4 nor IPv6, or a badly formed header",
    "drop_extensions": "carries more than six IPv6 extension headers",
    "drop_not_vip": "carries a packet for an address that is no VIP of this backend",
    "drop_too_big": "to be passed on, and longer than the way to the next backend takes",
    "drop_failed": "the kernel would not move the packet's start",
    "drop_inconsistent": "the maps contradict each other: a fault of evenkeel, please report",
    "extra_hop": "beside an outcome: came from another backend",
    "skipped_self": "beside an outcome: this backend was next in the list: a loop refused",
    "skipped_unknown": "beside an outcome: next in the list, and no way there is known",
}
