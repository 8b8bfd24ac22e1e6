/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Reading a frame from its start on: nothing is read before its bounds were checked, and no layer reaches
 * beyond what the layer around it says that there is.
 */
#ifndef EVENKEEL_CURSOR_H
#define EVENKEEL_CURSOR_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

/* The compiler must neither split nor repeat the one load that makes a change atomic. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

/* Keeps the compiler from computing a pointer anew at each use, which costs registers and time. */
#define SETTLE(pointer) asm volatile("" : "+r"(pointer))

/* More than all headers together: keeps an offset within what the verifier takes. */
#define FRAME_MASK 0x3fff

struct cursor {
	struct xdp_md *ctx;
	void *at;
	void *end;  /* of the frame */
	__u32 left; /* bytes that the layer around leaves: the frame may be longer (padding) */
};

static __always_inline void *frame_start(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data;
}

/* `left` is a constant until a header names a length: tests against it cost nothing. */
static __always_inline struct cursor whole_frame(struct xdp_md *ctx)
{
	return (struct cursor){ctx, frame_start(ctx), (void *)(long)ctx->data_end, ~0u};
}

/* The next `size` bytes, or NULL when the frame or the layer around ends before. */
static __always_inline void *take(struct cursor *cursor, __u32 size)
{
	void *header = cursor->at;

	if (cursor->left < size || header + size > cursor->end)
		return NULL;
	cursor->at = header + size;
	cursor->left -= size;
	return header;
}

/* Go on behind `size` bytes that were not looked at, if there are as many. */
static __always_inline bool skip(struct cursor *cursor, __u32 size)
{
	if (size > cursor->left)
		return false;
	cursor->at += size;
	SETTLE(cursor->at);
	cursor->left -= size;
	return true;
}

/* A header says that `size` bytes follow it: believe it when they are there, and forget what comes after
 * them. */
static __always_inline bool narrow(struct cursor *cursor, __u32 size)
{
	if (size > cursor->left || (__u64)(cursor->end - cursor->at) < size)
		return false;
	cursor->left = size;
	return true;
}

#endif
