"""Our programs on Debian's stock kernel, and its kernel GRE: `inside/` runs in a QEMU guest that is started here."""
