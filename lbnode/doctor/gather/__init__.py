"""Looking at the real thing: kernel, interfaces, sockets, store. The only part of the doctor that does I/O."""
