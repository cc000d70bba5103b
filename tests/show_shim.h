/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel functions that gmem_show.c uses besides those of shim.h, for a test on
 * the host.  There is one thread: the test, which is called at each step of an
 * attempt, does what conversions do meanwhile.  There are no memslots.
 */
#ifndef GMEM_TEST_SHOW_SHIM_H
#define GMEM_TEST_SHOW_SHIM_H

#include <assert.h>
#include <stddef.h>
#include <sys/types.h>

#include "shim.h"

#define CONFIG_KVM_GMEM_CONVERT	1

typedef uint8_t u8;
typedef unsigned long long u64, __u64, gfn_t;

/* <linux/kvm.h> of the host may be older than this. */
#define KVM_MEMORY_ATTRIBUTE_PRIVATE	(1ULL << 3)

#include "../kernel/files/include/uapi/linux/kvm_gmem.h"

#define __user
#define PAGE_SHIFT		12
#define PAGE_ALIGNED(bytes)	IS_ALIGNED(bytes, BIT(PAGE_SHIFT))
#define find_first_bit(bits, nr)	shim_find(bits, nr, 0, true)
#define kcsan_atomic_next(nr)

/* Attempts, and what the test does before, during and after one. */

void shim_look_begins(void);
void shim_look_ends(void);
void shim_pause(void);

typedef struct {
	unsigned int sequence;
} seqcount_t;

#define raw_seqcount_try_begin(s, seq)					\
	(shim_look_begins(), (seq) = (s)->sequence, !((seq) & 1))
#define read_seqcount_retry(s, seq)	(shim_look_ends(), (s)->sequence != (seq))
#define usleep_range(min_usecs, max_usecs)	shim_pause()

/* Files */

struct pid_namespace {
	int unused;
};

struct super_block {
	struct pid_namespace *pid_ns;
};

struct address_space {
	unsigned long nrpages;
};

struct inode {
	struct super_block *i_sb;
	struct address_space *i_mapping;
	loff_t size;
};

struct file {
	struct inode *inode;
};

struct seq_file {
	struct file *file;
	FILE *out;
};

extern struct pid_namespace init_pid_ns;

#define i_size_read(inode)	((inode)->size)
#define file_inode(file)	((file)->inode)
#define proc_pid_ns(sb)		((sb)->pid_ns)
#define seq_has_overflowed(m)	false
#define seq_printf(m, ...)	fprintf((m)->out, __VA_ARGS__)
#define copy_from_user(to, from, size)	(memcpy(to, from, size), 0)
#define copy_to_user(to, from, size)	(memcpy(to, from, size), 0)

/* VMs */

struct kvm {
	int userspace_pid;
};

struct kvm_memory_slot {
	gfn_t base_gfn;
	unsigned long npages;
	int id;
	int as_id;
	struct {
		struct kvm_gmem_state *state;
		pgoff_t pgoff;
	} gmem;
};

struct kvm_memslot_iter {
	struct kvm_memory_slot *slot;
};

#define guard_srcu(srcu)
#define gfn_to_gpa(gfn)			((gfn) << PAGE_SHIFT)
#define kvm_arch_nr_memslot_as_ids(kvm)	1
#define kvm_for_each_memslot_in_gfn_range(iter, slots, start, end)	\
	for ((iter)->slot = NULL; (iter)->slot; )

#endif
