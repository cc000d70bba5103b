/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel functions that gmem_bitmap.c uses, for a test on the host: there
 * is one thread, so RCU does nothing, and the allocator fails on request.
 */
#ifndef GMEM_TEST_SHIM_H
#define GMEM_TEST_SHIM_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long pgoff_t;

#define __rcu
#define GFP_KERNEL_ACCOUNT	0
#define __GFP_RETRY_MAYFAIL	0
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define BITS_PER_LONG		((unsigned int)(CHAR_BIT * sizeof(long)))
#define BIT(n)			(1UL << (n))
#define BIT_WORD(n)		((n) / BITS_PER_LONG)
#define BITS_TO_LONGS(n)	(((n) + BITS_PER_LONG - 1) / BITS_PER_LONG)
#define GENMASK(high, low)	((~0UL << (low)) & (~0UL >> (BITS_PER_LONG - 1 - (high))))
#define ALIGN_DOWN(x, a)	((x) & ~((a) - 1))
#define IS_ALIGNED(x, a)	(!((x) & ((a) - 1)))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define max(a, b)		((a) > (b) ? (a) : (b))
#define READ_ONCE(x)		(x)
#define WRITE_ONCE(x, value)	((x) = (value))
#define WARN_ON_ONCE(x)		((x) ? abort(), 1 : 0)
#define RCU_INIT_POINTER(p, value)	((p) = (value))
#define rcu_assign_pointer(p, value)	((p) = (value))
#define rcu_dereference(p)		(p)
#define rcu_access_pointer(p)		rcu_dereference(p)
#define rcu_dereference_protected(p, c)	(p)
#define rcu_read_lock()
#define rcu_read_unlock()
#define guard(name)		guard_##name
#define guard_rcu()
#define cond_resched()

extern long shim_allocated;
extern long shim_fail_at;
/* At which question whether the task is killed the answer is yes; 0: never. */
extern long shim_killed_at;

static inline bool shim_is_killed(void)
{
	return shim_killed_at && !--shim_killed_at;
}
#define fatal_signal_pending(task)	shim_is_killed()

static inline void *shim_alloc(size_t size)
{
	size_t *block;

	if (shim_fail_at && !--shim_fail_at)
		return NULL;

	block = malloc(sizeof(*block) + size);
	*block = size;
	shim_allocated += size;
	return block + 1;
}

static inline void shim_free(void *p)
{
	size_t *block = (size_t *)p - 1;

	shim_allocated -= *block;
	free(block);
}

#define kmalloc_obj(object, gfp)	shim_alloc(sizeof(object))
#define hweight_long(word)		((unsigned int)__builtin_popcountl(word))
#define kfree_rcu_mightsleep(p)		shim_free(p)

static inline unsigned int bitmap_weight(const unsigned long *bits, unsigned int nr)
{
	unsigned int i, weight = 0;

	for (i = 0; i < nr / BITS_PER_LONG; i++)
		weight += hweight_long(bits[i]);
	return weight;
}

static inline bool test_bit(unsigned int nr, const unsigned long *bits)
{
	return bits[BIT_WORD(nr)] >> (nr % BITS_PER_LONG) & 1;
}

static inline unsigned int shim_find(const unsigned long *bits, unsigned int end,
				     unsigned int first, bool value)
{
	while (first < end && test_bit(first, bits) != value)
		first++;
	return first;
}

#define find_next_bit(bits, end, first)		shim_find(bits, end, first, true)
#define find_next_zero_bit(bits, end, first)	shim_find(bits, end, first, false)

static inline void memset_p(void **p, void *value, unsigned int nr)
{
	while (nr--)
		*p++ = value;
}

#endif
