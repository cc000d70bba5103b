/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_STATE_H__
#define __KVM_GMEM_STATE_H__

#include <linux/kvm.h>
#include <linux/seqlock.h>
#include <linux/types.h>

#include "gmem_bitmap.h"

struct inode;
struct kvm;
struct mm_struct;

/*
 * What a guest_memfd knows of each of its pages: who may use it, and what it
 * holds.
 *
 * The state belongs to the inode, as the memory does.  It lives until the inode
 * has gone through an RCU grace period, so a lookup through a memslot needs no
 * reference.  A file that is not in place keeps the state it was created with.
 *
 * Stores need invalidate_lock exclusively.  Lookups need no lock; their answer
 * may be stale at once unless invalidate_lock is held or mmu_invalidate_seq is
 * checked.
 */
struct kvm_gmem_state {
#ifdef CONFIG_KVM_GMEM_CONVERT
	/* Set: for the guest only.  Clear: for guest and host. */
	struct kvm_gmem_bitmap private;
	/*
	 * A folio that is not up to date, or not allocated, holds nothing yet: the
	 * fault that brings it in fills it, with zeros, or with none_byte for the
	 * pages that were last converted with the policy NONE.  Where none_byte is
	 * zero, this set stays empty.
	 */
	struct kvm_gmem_bitmap none;
	/* Odd while a conversion stores in @private or @last. */
	seqcount_t private_seq;
	/* The range that was converted last, which has had this value since. */
	struct {
		pgoff_t start;
		pgoff_t end;
		bool private;
	} last;
	/* Who may convert and destroy.  Only compared, never dereferenced. */
	const struct mm_struct *owner;
	/* Only to be dereferenced while the file is open, which holds the VM. */
	struct kvm *kvm;
	u8 none_byte;
	bool in_place;
	/* Memory failure has struck this file once.  Never cleared. */
	bool had_poison;
	/* How many more user faults do not look for neighbours. */
	u8 around_skips;
#else
	bool is_private;
#endif
};

/* Provided by guest_memfd.c: a part of the inode, which is not looked at. */
struct kvm_gmem_state *kvm_gmem_state(struct inode *inode) __attribute_const__;

bool kvm_gmem_flags_are_valid(struct kvm *kvm, u64 flags);

#ifdef CONFIG_KVM_GMEM_CONVERT

void kvm_gmem_state_init(struct kvm_gmem_state *state, struct kvm *kvm,
			 loff_t size, u64 flags);
void kvm_gmem_state_destroy(struct kvm_gmem_state *state);

static inline bool kvm_gmem_state_is_private(const struct kvm_gmem_state *state,
					     pgoff_t index)
{
	return kvm_gmem_bitmap_test(&state->private, index);
}

static inline bool kvm_gmem_is_in_place(struct inode *inode)
{
	return kvm_gmem_state(inode)->in_place;
}

static inline void kvm_gmem_note_poison(struct inode *inode)
{
	WRITE_ONCE(kvm_gmem_state(inode)->had_poison, true);
}

#else

static inline void kvm_gmem_state_init(struct kvm_gmem_state *state,
				       struct kvm *kvm, loff_t size, u64 flags)
{
	state->is_private = !(flags & GUEST_MEMFD_FLAG_INIT_SHARED);
}

static inline void kvm_gmem_state_destroy(struct kvm_gmem_state *state)
{
}

static inline bool kvm_gmem_state_is_private(const struct kvm_gmem_state *state,
					     pgoff_t index)
{
	return state->is_private;
}

static inline bool kvm_gmem_is_in_place(struct inode *inode)
{
	return false;
}

static inline void kvm_gmem_note_poison(struct inode *inode)
{
}

#endif /* CONFIG_KVM_GMEM_CONVERT */

#endif /* __KVM_GMEM_STATE_H__ */
