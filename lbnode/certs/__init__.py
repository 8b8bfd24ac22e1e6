"""Certificates: making an authority and what it signs, and judging what a daemon or operator was given. The only
owner of `cryptography`. Bytes in, bytes out: files, permissions and reloading are the caller's.
"""
