"""Certificates: making an authority and what it signs, and judging what a daemon or operator was given. Bytes in, bytes
out: files, permissions and reloading are the caller's.

The only owner of `cryptography`, and only for making and showing: daemons judge by the standard library, so images
leave that package out.
"""
