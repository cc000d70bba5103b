// SPDX-License-Identifier: GPL-2.0
/*
 * fallocate(): who may punch a hole where, and how others get their turn while a
 * large range is punched or allocated.
 */
#include <linux/delay.h>
#include <linux/pagemap.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "gmem_claim.h"
#include "gmem_content.h"
#include "gmem_fault.h"
#include "gmem_hole.h"
#include "gmem_state.h"

/* How many folios are punched out before others are let in. */
#define HOLE_FOLIOS	64

static bool gmem_hole_is_by_owner(struct kvm_gmem_state *state)
{
	return !state->in_place || state->owner == current->mm;
}

/*
 * A process that may not convert a page may not destroy it either.  Other processes
 * get the file for what is shared; even that they may not destroy if the guest
 * could not get it back.
 */
static bool gmem_hole_is_allowed(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct kvm_gmem_state *state = kvm_gmem_state(inode);

	return gmem_hole_is_by_owner(state) ||
	       (kvm_gmem_bitmap_find(&state->private, start, end, true) == end &&
		!kvm_gmem_guest_has(inode, start, end));
}

/* The answer for the whole range, before any of it is gone. */
static int gmem_hole_ask(struct inode *inode, pgoff_t start, pgoff_t end)
{
	int r;

	if (gmem_hole_is_by_owner(kvm_gmem_state(inode)))
		return 0;

	r = down_read_killable(&inode->i_mapping->invalidate_lock);
	if (r)
		return r;

	r = gmem_hole_is_allowed(inode, start, end) ? 0 : -EPERM;
	filemap_invalidate_unlock_shared(inode->i_mapping);

	return r;
}

/* Where the piece that begins at @start ends; unallocated pages take no time. */
static pgoff_t gmem_hole_piece(struct inode *inode, pgoff_t start, pgoff_t end)
{
	XA_STATE(xas, &inode->i_mapping->i_pages, start);
	unsigned int nr = 0;
	void *entry;

	guard(rcu)();

	xas_for_each(&xas, entry, end - 1) {
		if (!xas_retry(&xas, entry) && ++nr == HOLE_FOLIOS)
			return xas.xa_index + 1;
	}

	return end;
}

/*
 * Others were woken when the lock was dropped, but do not run yet: taking it
 * again at once would overtake them.
 */
static void gmem_hole_let_others_run(struct rw_semaphore *lock)
{
	cond_resched();
	if (rwsem_is_contended(lock))
		usleep_range(20, 50);
}

/*
 * Lock the file and prepare for [start, end) to go.  On failure nothing is locked
 * and nothing has changed.
 */
int kvm_gmem_hole_start(struct inode *inode, pgoff_t start, pgoff_t end)
{
	int r;

	r = down_write_killable(&inode->i_mapping->invalidate_lock);
	if (r)
		return r;

	r = gmem_hole_is_allowed(inode, start, end) ?
	    kvm_gmem_content_discard(inode, start, end) : -EPERM;
	if (r)
		filemap_invalidate_unlock(inode->i_mapping);

	return r;
}

/*
 * Punch [offset, offset + len) piece by piece.  If a page becomes private
 * meanwhile, this ends there for a process that may not destroy it.
 */
long kvm_gmem_punch_holes(struct inode *inode, loff_t offset, loff_t len)
{
	pgoff_t nr_pages = i_size_read(inode) >> PAGE_SHIFT;
	pgoff_t start = offset >> PAGE_SHIFT, end, next;
	long r = 0;

	/* There is nothing beyond the end of the file. */
	end = min((pgoff_t)((offset + len) >> PAGE_SHIFT), nr_pages);
	if (start >= end)
		return 0;

	r = gmem_hole_ask(inode, start, end);

	for (; start < end && !r; start = next) {
		if (fatal_signal_pending(current))
			return -EINTR;

		next = gmem_hole_piece(inode, start, end);
		if (kvm_gmem_seems_mapped(inode, start, next))
			kvm_gmem_unmap(inode, start, next);
		r = kvm_gmem_punch_hole(inode, (loff_t)start << PAGE_SHIFT,
					(loff_t)(next - start) << PAGE_SHIFT);
		gmem_hole_let_others_run(&inode->i_mapping->invalidate_lock);
	}

	return r;
}

/*
 * Drop invalidate_lock, which is held shared, for a moment if others wait for
 * it.  On failure it is no longer held.
 */
int kvm_gmem_let_in(struct inode *inode)
{
	struct rw_semaphore *lock = &inode->i_mapping->invalidate_lock;

	cond_resched();
	if (!rwsem_is_contended(lock))
		return 0;

	up_read(lock);
	gmem_hole_let_others_run(lock);
	return down_read_killable(lock);
}
