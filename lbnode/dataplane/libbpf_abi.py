"""The C side of libbpf 1.x as ctypes sees it: structures, prototypes and what it prints.

Option structures end where libbpf 1.1 ends them; their first field says how long they are, so that any 1.x
takes them (libbpf's own rule for growing structures).
"""

from __future__ import annotations

import ctypes
from collections import deque
from ctypes import (
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_int,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from typing import Any

from lbnode.dataplane.errors import LibraryError

SONAME = "libbpf.so.1"


class OpenOptions(Structure):
    """struct bpf_object_open_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("unused", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_void_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    )


class TestRunOptions(Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class LinkCreateOptions(Structure):
    """struct bpf_link_create_opts, up to what XDP needs."""

    _fields_ = (
        ("sz", c_size_t),
        ("flags", c_uint32),
        ("iter_info", c_void_p),
        ("iter_info_len", c_uint32),
        ("target_btf_id", c_uint32),
        ("attach_specific", c_uint64 * 4),
    )


class MapInfo(Structure):
    """The head of struct bpf_map_info (linux/bpf.h)."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", ctypes.c_char * 16),
    )


class ProgramInfo(Structure):
    """The head of struct bpf_prog_info (linux/bpf.h)."""

    _fields_ = (("type", c_uint32), ("id", c_uint32), ("tag", c_uint8 * 8))


class LinkInfo(Structure):
    """The head of struct bpf_link_info (linux/bpf.h); `ifindex` is that of an XDP link."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("unused", c_uint32),
        ("ifindex", c_uint32),
        ("rest", c_uint32 * 16),
    )


class XdpQueryOptions(Structure):
    """struct bpf_xdp_query_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("prog_id", c_uint32),
        ("drv_prog_id", c_uint32),
        ("hw_prog_id", c_uint32),
        ("skb_prog_id", c_uint32),
        ("attach_mode", c_uint8),
    )


_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "bpf_object__open_file": (c_void_p, (c_char_p, c_void_p)),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__btf": (c_void_p, (c_void_p,)),
    "bpf_object__next_map": (c_void_p, (c_void_p, c_void_p)),
    "bpf_object__find_map_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__find_program_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__next_program": (c_void_p, (c_void_p, c_void_p)),
    "btf__raw_data": (c_void_p, (c_void_p, POINTER(c_uint32))),
    "bpf_map__name": (c_char_p, (c_void_p,)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__initial_value": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "bpf_map__is_internal": (c_bool, (c_void_p,)),
    "bpf_map__reuse_fd": (c_int, (c_void_p, c_int)),
    "bpf_map__set_max_entries": (c_int, (c_void_p, c_uint32)),
    "bpf_map__set_autocreate": (c_int, (c_void_p, c_bool)),
    "bpf_program__name": (c_char_p, (c_void_p,)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_program__set_autoload": (c_int, (c_void_p, c_bool)),
    "bpf_prog_test_run_opts": (c_int, (c_int, c_void_p)),
    "bpf_map_lookup_elem": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    "bpf_map_delete_elem": (c_int, (c_int, c_void_p)),
    "bpf_map_get_next_key": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_obj_pin": (c_int, (c_int, c_char_p)),
    "bpf_obj_get": (c_int, (c_char_p,)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32))),
    "bpf_prog_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, c_void_p)),
    "bpf_link_update": (c_int, (c_int, c_int, c_void_p)),
    "bpf_link_detach": (c_int, (c_int,)),
    "bpf_xdp_query": (c_int, (c_int, c_int, c_void_p)),
    "bpf_xdp_detach": (c_int, (c_int, c_uint32, c_void_p)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "libbpf_probe_bpf_prog_type": (c_int, (c_int, c_void_p)),
    "libbpf_probe_bpf_map_type": (c_int, (c_int, c_void_p)),
    "libbpf_probe_bpf_helper": (c_int, (c_int, c_int, c_void_p)),
    "libbpf_set_print": (c_void_p, (c_void_p,)),
}

_PRINTER = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_DEBUG_LEVEL = 2

said: deque[str] = deque(maxlen=40)
"""The last lines that libbpf would have printed (warnings and information), newest last."""


def _make_printer() -> Any:
    """Return a print callback that keeps messages in `said`.

    A va_list arrives as a pointer on x86-64 and on 64-bit Arm alike: it can be handed on to vsnprintf as one.
    """
    libc = ctypes.CDLL(None)
    libc.vsnprintf.argtypes = (c_char_p, c_size_t, c_char_p, c_void_p)

    def keep(level: int, template: bytes, arguments: int) -> int:
        if level < _DEBUG_LEVEL:
            line = ctypes.create_string_buffer(512)
            libc.vsnprintf(line, len(line), template, arguments)
            said.append(line.value.decode(errors="replace").rstrip())
        return 0

    return _PRINTER(keep)


_printer = _make_printer()


@cache
def library(soname: str = SONAME) -> ctypes.CDLL:
    """Return libbpf with its prototypes set; raises LibraryError when it is missing or lacks a function."""
    try:
        lib = ctypes.CDLL(soname, use_errno=True)
    except OSError as error:
        remedy = "install libbpf 1.x (Debian: apt install libbpf1)"
        raise LibraryError(f"load {soname}: {error}: {remedy}") from error
    for name, (result, arguments) in _PROTOTYPES.items():
        try:
            function = getattr(lib, name)
        except AttributeError as error:
            raise LibraryError(f"load {soname}: it has no {name}: install libbpf 1.1 or newer") from error
        function.restype = result
        function.argtypes = arguments
    lib.libbpf_set_print(ctypes.cast(_printer, c_void_p))
    return lib
