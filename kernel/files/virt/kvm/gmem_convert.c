// SPDX-License-Identifier: GPL-2.0
/*
 * In-place conversion of guest_memfd memory between private and shared: the
 * ioctls, and the conversion from top to bottom.
 *
 * mapping->invalidate_lock is the one lock: exclusive to convert, shared to
 * fault.  It is not taken under mmu_lock.  While it is held exclusively nobody
 * waits for a folio lock, nor for anything that a stranger holds.
 */
#include <linux/delay.h>
#include <linux/kvm_host.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rcupdate_wait.h>
#include <linux/sched/signal.h>
#include <linux/sort.h>
#include <linux/uaccess.h>

#include "gmem_attributes.h"
#include "gmem_claim.h"
#include "gmem_content.h"
#include "gmem_convert.h"
#include "gmem_fault.h"
#include "gmem_show.h"
#include "gmem_stat.h"
#include "gmem_state.h"

#define CREATE_TRACE_POINTS
#include <trace/events/kvm_gmem.h>

static_assert(sizeof(struct kvm_memory_attributes2) == 128);
static_assert(offsetof(struct kvm_memory_attributes2, reserved) == 40);

/* The page cache holds one reference to each page; no other is owed to anyone. */
#define PAGE_CACHE_REFS		1

/*
 * How long one call waits, for all of its pages together, for references that may
 * go away by themselves: that of another thread's munmap() that has yet to flush
 * the TLB, or of a lookup in the page cache.  Either may have been preempted.
 */
#define WAIT_NSECS		NSEC_PER_SEC

/* Between two checks.  Each try takes the lock, so a call that waits tries less often. */
#define MIN_PAUSE_USECS		20U
#define MAX_PAUSE_USECS		1000U

/* Returned by a try that has found pages mapped which did not seem to be. */
#define UNMAP_FIRST		1

/* How often a page is checked again before its reference is one to wait for. */
#define LOOKS			50

/*
 * A piece of a conversion: pages [start, end) of a file, or gfns for which the
 * VM's own attributes decide.  @shift is added to get the index as the request
 * counts it, a page of the file or a gfn.
 */
struct part {
	struct inode *inode;
	struct kvm_gmem_state *state;
	pgoff_t start;
	pgoff_t end;
	pgoff_t shift;
	/* The first part of a file locks it, for all parts of the file. */
	bool locks;
	/* All pages of the file before @start are as requested. */
	bool from_first;
};

/* One call, and what it has met. */
struct request {
	struct kvm *kvm;
	pgoff_t start;
	pgoff_t end;
	bool to_private;
	u64 policy;

	struct part *parts;
	int nr_parts;

	/* The page that refuses, as the request counts it, and its file, or 0. */
	pgoff_t err_index;
	u64 err_ino;
	/* With EAGAIN: where that page is, with a reference to the file until the wait. */
	struct inode *held_inode;
	pgoff_t held_index;
	/* Unmap, even if nothing seems to be mapped. */
	bool unmap;
	/* When waiting ends, 0 before it has begun, and the time between two checks. */
	ktime_t deadline;
	ktime_t tried;
	unsigned int pause_usecs;

	/* For observers: pages that have changed, references of the one that refused. */
	pgoff_t nr_changed;
	unsigned int refs;
	unsigned int maps;
	/* If traced: since when a lock is held, and for how long one was held. */
	ktime_t began;
	ktime_t locked;
	s64 locked_ns;
};

/* Page @index of the part's file, or gfn @index, refuses. */
static void gmem_convert_stop_at(struct request *rq, struct part *part, pgoff_t index)
{
	rq->err_index = index + part->shift;
	rq->err_ino = part->inode ? part->inode->i_ino : 0;
}

/*
 * Does somebody hold this page, which nobody maps?  A lookup in the page cache
 * has a reference for a few instructions.
 */
static bool gmem_convert_is_held(struct folio *folio)
{
	int i;

	for (i = 0; i < LOOKS; i++) {
		if (folio_ref_count(folio) <= PAGE_CACHE_REFS)
			return false;
		cpu_relax();
	}

	return true;
}

/* The first folio from @start on that is to change and may refuse to. */
static struct folio *gmem_convert_find(struct request *rq, struct part *part, pgoff_t start)
{
	XA_STATE(xas, &part->inode->i_mapping->i_pages, start);
	unsigned int nr_seen = 0;
	struct folio *folio;

	guard(rcu)();

	/* Folios stay: they are dirty, and holes take invalidate_lock, which is held. */
	xas_for_each(&xas, folio, part->end - 1) {
		if (xas_retry(&xas, folio))
			continue;

		if ((folio_test_hwpoison(folio) ||
		     (rq->to_private && folio_ref_count(folio) > PAGE_CACHE_REFS)) &&
		    kvm_gmem_state_is_private(part->state, folio->index) != rq->to_private)
			return folio;

		if (++nr_seen % XA_CHECK_SCHED == 0) {
			if (fatal_signal_pending(current))
				return ERR_PTR(-EINTR);
			xas_pause(&xas);
			cond_resched_rcu();
		}
	}

	return NULL;
}

/*
 * Find the first page that refuses the conversion: it is poisoned, or, on the
 * way to private, held by somebody, who could read and write what the guest
 * believes to be its own.  Pages that do not change are not checked.
 */
static int gmem_convert_check(struct request *rq, struct part *part)
{
	pgoff_t start = part->start;
	bool unmapped = false;
	struct folio *folio;

	/* Holders do not matter to shared. */
	if (!rq->to_private && !READ_ONCE(part->state->had_poison))
		return 0;

	while ((folio = gmem_convert_find(rq, part, start))) {
		if (IS_ERR(folio))
			return PTR_ERR(folio);

		gmem_convert_stop_at(rq, part, folio->index);
		if (folio_test_hwpoison(folio))
			return -EHWPOISON;

		/* Mapped since gmem_convert_unmap_ahead(); no fault can map it now. */
		start = folio->index;
		if (!unmapped && folio_mapped(folio)) {
			if (!rq->unmap)
				return UNMAP_FIRST;
			kvm_gmem_unmap(part->inode, start, part->end);
			unmapped = true;
			continue;
		}

		if (gmem_convert_is_held(folio)) {
			rq->held_index = start;
			rq->held_inode = part->inode;
			return -EAGAIN;
		}
		start++;
	}

	return 0;
}

/* The current state of the page that refused; nothing is locked, so this is a hint. */
static bool gmem_convert_still_held(struct request *rq, bool *pinned)
{
	struct folio *folio;

	guard(rcu)();

	rq->maps = 0;
	rq->refs = 0;
	folio = xa_load(&rq->held_inode->i_mapping->i_pages, rq->held_index);
	if (!folio || xa_is_value(folio))
		return false;

	/*
	 * Each mapping has a reference, and each pin many.  A folio has one page, and
	 * nothing is read that is invalid in a folio that is being freed.
	 */
	rq->maps = max(atomic_read(&folio->_mapcount) + 1, 0);
	rq->refs = folio_ref_count(folio);
	*pinned = !rq->maps && rq->refs >= GUP_PIN_COUNTING_BIAS;
	return rq->refs > PAGE_CACHE_REFS + rq->maps;
}

/*
 * Wait until the page that refused looks free: 0 to try again, -EAGAIN to give up.
 *
 * A pin can be decided.  The page has been unmapped; GUP-fast reads the PTE again
 * with interrupts off, so after a grace period every GUP-fast that had to back out
 * has done so.  If a page that nobody maps is still pinned, somebody means to keep
 * the pin.
 *
 *	CPU0: GUP-fast				CPU1: conversion
 *	read the PTE
 *						unmap
 *	take a reference
 *						one reference too many
 *	read the PTE again, it has changed
 *						synchronize_rcu_expedited()
 *	drop the reference
 *	interrupts on				pinned: no GUP-fast backs out
 *
 * Other references are only a count, so lasting ones cannot be told from passing
 * ones: they have until the deadline.  It is one for the whole call, as otherwise a
 * process that lets go of one page after the other could prolong the wait.
 */
static int gmem_convert_wait(struct request *rq)
{
	bool pinned = false;

	lockdep_assert_not_held(&rq->held_inode->i_mapping->invalidate_lock);

	if (!rq->deadline) {
		rq->deadline = ktime_add_ns(ktime_get(), WAIT_NSECS);
		rq->pause_usecs = MIN_PAUSE_USECS;
	} else {
		/* A try that takes long keeps others out for long, so pause as long. */
		rq->pause_usecs = max_t(s64, rq->pause_usecs,
					ktime_us_delta(ktime_get(), rq->tried));
	}

	if (gmem_convert_still_held(rq, &pinned) && pinned) {
		synchronize_rcu_expedited();
		if (gmem_convert_still_held(rq, &pinned) && pinned)
			return -EAGAIN;
	}

	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (ktime_after(ktime_get(), rq->deadline))
			return -EAGAIN;

		usleep_range(rq->pause_usecs, 2 * rq->pause_usecs);
		rq->pause_usecs = min(2 * rq->pause_usecs, MAX_PAUSE_USECS);
	} while (gmem_convert_still_held(rq, &pinned));

	rq->tried = ktime_get();
	return 0;
}

static void gmem_convert_unlock(struct request *rq, int nr)
{
	if (rq->locked)
		rq->locked_ns += ktime_to_ns(ktime_sub(ktime_get(), rq->locked));
	rq->locked = 0;

	while (nr--) {
		if (rq->parts[nr].locks)
			filemap_invalidate_unlock(rq->parts[nr].inode->i_mapping);
	}
}

/*
 * Nobody else holds two of these locks, as that requires slots_lock and a file
 * belongs to one VM.  So their order does not matter.
 */
static int gmem_convert_lock(struct request *rq)
{
	struct rw_semaphore *lock;
	int i, r;

	for (i = 0; i < rq->nr_parts; i++) {
		if (!rq->parts[i].locks)
			continue;

		lock = &rq->parts[i].inode->i_mapping->invalidate_lock;
		r = rq->nr_parts == 1 ? down_write_killable(lock) :
		    down_write_killable_nest_lock(lock, &rq->kvm->slots_lock);
		if (r) {
			gmem_convert_unlock(rq, i);
			return r;
		}

		/* From the first lock on, somebody may be waiting. */
		if (rq->began && !rq->locked)
			rq->locked = ktime_get();
	}

	return 0;
}

static int gmem_convert_reserve_file(struct request *rq, struct part *part)
{
	struct kvm_gmem_bitmap *private = &part->state->private;
	pgoff_t err_index;
	int r;

	/* Pages that are as requested stay as they are; leading ones are not visited. */
	part->from_first = !part->start;
	part->start = kvm_gmem_bitmap_find(private, part->start, part->end, !rq->to_private);
	if (part->start == part->end)
		return 0;

	r = kvm_gmem_bitmap_reserve(private, part->start, part->end, rq->to_private,
				    &err_index);
	if (r)
		goto out;

	r = kvm_gmem_content_reserve(part->inode, part->start, part->end, rq->to_private,
				     rq->policy, &err_index);
	if (r)
		kvm_gmem_bitmap_release(private, part->start, part->end);
out:
	if (r)
		gmem_convert_stop_at(rq, part, err_index);
	return r;
}

static void gmem_convert_release_file(struct request *rq, struct part *part)
{
	if (part->start == part->end)
		return;

	kvm_gmem_content_release(part->inode, part->start, part->end, rq->to_private,
				 rq->policy);
	kvm_gmem_bitmap_release(&part->state->private, part->start, part->end);
}

/*
 * Only mappings for the old state are zapped.  So where zapping a private page
 * would lose its contents, one that stays private is safe.
 */
static void gmem_convert_commit_file(struct request *rq, struct part *part)
{
	pgoff_t start = part->start, end = part->end;
	struct kvm_gmem_state *state = part->state;
	struct inode *inode = part->inode;
	pgoff_t nr_changed;
	bool keep;

	if (start == end)
		return;

	/*
	 * A vCPU's fault in flight maps the same page, so if mappings stay valid there
	 * is nothing to retry or to zap.
	 */
	keep = kvm_arch_gmem_keeps_mappings(rq->kvm, rq->policy);

	if (!keep)
		kvm_gmem_invalidate_start(inode, start, end, rq->to_private ?
					  KVM_FILTER_SHARED : KVM_FILTER_PRIVATE);
	if (rq->to_private)
		kvm_gmem_unclaim(inode, start, end, false);
	kvm_gmem_content_commit(inode, start, end, rq->to_private, rq->policy, keep);
	raw_write_seqcount_begin(&state->private_seq);
	/* From the first page if possible: storing a whole file needs no counting. */
	nr_changed = kvm_gmem_bitmap_commit(&state->private, part->from_first ? 0 : start, end,
					    rq->to_private);
	WRITE_ONCE(state->last.start, start);
	WRITE_ONCE(state->last.end, end);
	WRITE_ONCE(state->last.private, rq->to_private);
	raw_write_seqcount_end(&state->private_seq);
	WRITE_ONCE(state->around_skips, 0);
	if (!keep)
		kvm_gmem_invalidate_end(inode, start, end);
	rq->nr_changed += nr_changed;
}

/* Let go of what was claimed in the first @nr parts. */
static void gmem_convert_unclaim(struct request *rq, int nr)
{
	while (!rq->to_private && nr--) {
		struct part *part = &rq->parts[nr];

		if (part->inode && part->start < part->end)
			kvm_gmem_unclaim(part->inode, part->start, part->end, true);
	}
}

/* Get the guest's consent to everything that becomes shared, or to nothing. */
static int gmem_convert_claim(struct request *rq)
{
	struct part *part;
	pgoff_t err_index;
	int i, r = 0;

	for (i = 0; !rq->to_private && i < rq->nr_parts; i++) {
		part = &rq->parts[i];
		if (!part->inode || part->start == part->end)
			continue;

		r = kvm_gmem_claim(part->inode, part->start, part->end, &err_index);
		if (r) {
			gmem_convert_stop_at(rq, part, err_index);
			break;
		}
	}

	if (r)
		gmem_convert_unclaim(rq, i);
	return r;
}

/* Clear the pages that the guest keeps mapped, if they are to read as zeros. */
static int gmem_convert_clear(struct request *rq)
{
	int i, r = 0;

	if (rq->policy != KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO ||
	    !kvm_arch_gmem_keeps_mappings(rq->kvm, rq->policy))
		return 0;

	for (i = 0; !r && i < rq->nr_parts; i++) {
		struct part *part = &rq->parts[i];

		if (part->inode && part->start < part->end)
			r = kvm_gmem_content_clear(part->inode, part->start, part->end,
						   rq->to_private);
	}

	return r;
}

/* Give back what was reserved in the VM's own attributes for the first @nr parts. */
static void gmem_convert_release_vm(struct request *rq, int nr)
{
	while (rq->to_private && nr--) {
		struct part *part = &rq->parts[nr];

		if (!part->inode)
			kvm_gmem_release_vm_attributes(rq->kvm, part->start, part->end);
	}
}

/* To shared, attributes are only removed, which needs no memory. */
static int gmem_convert_reserve_vm(struct request *rq)
{
	gfn_t err_gfn;
	int i, r;

	for (i = 0; rq->to_private && i < rq->nr_parts; i++) {
		struct part *part = &rq->parts[i];

		if (part->inode)
			continue;

		r = kvm_gmem_reserve_vm_attributes(rq->kvm, part->start, part->end, &err_gfn);
		if (r) {
			gmem_convert_stop_at(rq, part, err_gfn);
			gmem_convert_release_vm(rq, i);
			return r;
		}
	}

	return 0;
}

static void gmem_convert_commit_vm(struct request *rq)
{
	u64 attributes = rq->to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
	int i;

	for (i = 0; i < rq->nr_parts; i++) {
		struct part *part = &rq->parts[i];

		/* Reserved, and not in place: nothing is left that could fail. */
		if (!part->inode)
			WARN_ON_ONCE(kvm_vm_set_mem_attributes(rq->kvm, part->start, part->end,
							       attributes, true));
	}
}

/*
 * Faults on other pages wait for the lock, so unmap the range before taking it.
 * gmem_convert_check() unmaps what has been mapped again until then.
 */
static void gmem_convert_unmap_ahead(struct request *rq)
{
	int i;

	for (i = 0; rq->to_private && i < rq->nr_parts; i++) {
		pgoff_t start = rq->parts[i].start, end = rq->parts[i].end;
		struct inode *inode = rq->parts[i].inode;

		if (!inode)
			continue;

		start = kvm_gmem_bitmap_find(&rq->parts[i].state->private, start, end, false);
		if (start < end && (rq->unmap || kvm_gmem_seems_mapped(inode, start, end)))
			kvm_gmem_unmap(inode, start, end);
	}
}

/*
 * Convert all parts, or nothing.  On failure user mappings may be gone and fault
 * back in, and err_index is the lowest page that refuses.  -EAGAIN leaves a
 * reference to the file for gmem_convert_wait().
 */
static int gmem_convert_try(struct request *rq)
{
	int i, reserved = 0, r;

	r = gmem_convert_reserve_vm(rq);
	if (r)
		return r;

	gmem_convert_unmap_ahead(rq);

	r = gmem_convert_lock(rq);
	if (r)
		goto out_release_vm;

	for (; reserved < rq->nr_parts; reserved++) {
		if (rq->parts[reserved].inode)
			r = gmem_convert_reserve_file(rq, &rq->parts[reserved]);
		if (r)
			goto out_release;
	}

	for (i = 0; i < rq->nr_parts; i++) {
		struct part *part = &rq->parts[i];

		if (part->inode && part->start < part->end)
			r = gmem_convert_check(rq, part);
		if (r)
			goto out_release;
	}

	r = gmem_convert_claim(rq);
	if (r)
		goto out_release;

	r = gmem_convert_clear(rq);
	if (r) {
		gmem_convert_unclaim(rq, rq->nr_parts);
		goto out_release;
	}

	/*
	 * The point of no return: from here on nothing fails, and the guest may
	 * act on the new state as soon as it is stored.
	 */
	for (i = 0; i < rq->nr_parts; i++) {
		if (rq->parts[i].inode)
			gmem_convert_commit_file(rq, &rq->parts[i]);
	}
	gmem_convert_unlock(rq, rq->nr_parts);
	gmem_convert_commit_vm(rq);
	return 0;

out_release:
	if (r == -EAGAIN)
		ihold(rq->held_inode);
	while (reserved--) {
		if (rq->parts[reserved].inode)
			gmem_convert_release_file(rq, &rq->parts[reserved]);
	}
	gmem_convert_unlock(rq, rq->nr_parts);
out_release_vm:
	gmem_convert_release_vm(rq, rq->nr_parts);
	return r;
}

/* Try, and wait without a lock for whoever holds a page, until the outcome is decided. */
static int gmem_convert(struct request *rq, int (*try)(struct request *rq))
{
	int r;

	do {
		r = try(rq);
		if (r == UNMAP_FIRST) {
			rq->unmap = true;
			r = try(rq);
		}
		if (r != -EAGAIN)
			break;

		r = gmem_convert_wait(rq);
		iput(rq->held_inode);
	} while (!r);

	return r;
}

static int gmem_convert_check_fields(const struct kvm_memory_attributes2 *attrs, u64 limit)
{
	u64 policy = attrs->flags & KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_MASK;
	u64 reserved = 0;
	int i;

	if (attrs->flags != policy ||
	    policy > KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE)
		return -EINVAL;
	if (attrs->attributes & ~KVM_MEMORY_ATTRIBUTE_PRIVATE)
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(attrs->reserved); i++)
		reserved |= attrs->reserved[i];
	if (reserved)
		return -EINVAL;
	if (!PAGE_ALIGNED(attrs->offset) || !PAGE_ALIGNED(attrs->size))
		return -EINVAL;
	if (!attrs->size || attrs->offset >= limit ||
	    attrs->size > limit - attrs->offset)
		return -EINVAL;

	return 0;
}

static __always_inline void gmem_convert_init(struct request *rq, struct kvm *kvm,
					      const struct kvm_memory_attributes2 *attrs)
{
	*rq = (struct request){
		.kvm = kvm,
		.start = attrs->offset >> PAGE_SHIFT,
		.end = (attrs->offset + attrs->size) >> PAGE_SHIFT,
		.to_private = attrs->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE,
		.policy = attrs->flags,
		.err_index = attrs->offset >> PAGE_SHIFT,
		.began = trace_kvm_gmem_convert_enabled() ? ktime_get() : 0,
	};
}

static bool gmem_convert_policy_is_supported(struct request *rq)
{
	u32 bit = rq->to_private ? KVM_MEMORY_ATTRIBUTES2_TO_PRIVATE(rq->policy) :
				   KVM_MEMORY_ATTRIBUTES2_TO_SHARED(rq->policy);

	return kvm_gmem_content_policies(rq->kvm) & bit;
}

/* The counter of the calls that a page refused with error @r; NULL if no page refused. */
static atomic64_t *gmem_convert_refusals(struct kvm *kvm, int r)
{
	switch (r) {
	case -EAGAIN:
		return kvm_gmem_stat(kvm, refused_held);
	case -EHWPOISON:
		return kvm_gmem_stat(kvm, refused_poison);
	case -ENOMEM:
		return kvm_gmem_stat(kvm, refused_memory);
	case -EOPNOTSUPP:
		return kvm_gmem_stat(kvm, refused_policy);
	case -EPERM:
		return kvm_gmem_stat(kvm, refused_consent);
	default:
		return NULL;
	}
}

static void gmem_convert_count(struct request *rq)
{
	struct kvm *kvm = rq->kvm;

	if (rq->to_private) {
		atomic64_inc(kvm_gmem_stat(kvm, conversions_to_private));
		atomic64_add(rq->nr_changed, kvm_gmem_stat(kvm, pages_to_private));
	} else {
		atomic64_inc(kvm_gmem_stat(kvm, conversions_to_shared));
		atomic64_add(rq->nr_changed, kvm_gmem_stat(kvm, pages_to_shared));
	}
}

static void gmem_convert_trace(struct request *rq, struct inode *inode, int r, bool refused)
{
	struct kvm_gmem_record record = {
		.pid = rq->kvm->userspace_pid,
		.ino = inode ? inode->i_ino : 0,
		.start = (u64)rq->start << PAGE_SHIFT,
		.size = (u64)(rq->end - rq->start) << PAGE_SHIFT,
		.attributes = rq->to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
		.policy = rq->policy,
		.changed = (u64)rq->nr_changed << PAGE_SHIFT,
		.result = r,
		.error_offset = refused ? (u64)rq->err_index << PAGE_SHIFT : 0,
		.error_ino = refused ? rq->err_ino : 0,
		.refs = r == -EAGAIN ? rq->refs : 0,
		.maps = r == -EAGAIN ? rq->maps : 0,
		.took_ns = rq->began ? ktime_to_ns(ktime_sub(ktime_get(), rq->began)) : 0,
		.locked_ns = rq->locked_ns,
	};

	trace_kvm_gmem_convert(&record);
}

/*
 * Count the outcome of a conversion, and report where it failed.  Nothing is
 * written after success, so a conversion that has happened is never reported as a
 * failure.
 */
static long gmem_convert_end(struct request *rq, struct inode *inode, int r,
			     struct kvm_memory_attributes2 __user *uattrs)
{
	atomic64_t *refusals = r ? gmem_convert_refusals(rq->kvm, r) : NULL;

	if (refusals)
		atomic64_inc(refusals);
	else if (rq->nr_changed)
		gmem_convert_count(rq);

	if (trace_kvm_gmem_convert_enabled())
		gmem_convert_trace(rq, inode, r, refusals);

	if (refusals &&
	    put_user((u64)rq->err_index << PAGE_SHIFT, &uattrs->error_offset))
		return -EFAULT;

	return r;
}

/* Is the range part of what was converted last, and in this direction? */
static bool gmem_convert_was_last(struct request *rq, struct kvm_gmem_state *state)
{
	return rq->start >= READ_ONCE(state->last.start) &&
	       rq->end <= READ_ONCE(state->last.end) &&
	       rq->to_private == READ_ONCE(state->last.private);
}

/*
 * Was the whole range as requested at one instant?  Then there is nothing to do,
 * and nobody has to wait.
 */
static bool gmem_convert_is_done(struct request *rq, struct kvm_gmem_state *state)
{
	unsigned int seq;

	return raw_seqcount_try_begin(&state->private_seq, seq) &&
	       (gmem_convert_was_last(rq, state) ||
		kvm_gmem_bitmap_find(&state->private, rq->start, rq->end,
				     !rq->to_private) == rq->end) &&
	       !read_seqcount_retry(&state->private_seq, seq);
}

static int gmem_convert_try_file(struct request *rq)
{
	struct part part = *rq->parts;
	struct part *parts = rq->parts;
	int r;

	/* A try narrows its part to the pages that are to change. */
	rq->parts = &part;
	r = gmem_convert_try(rq);
	rq->parts = parts;

	return r;
}

/*
 * KVM_SET_MEMORY_ATTRIBUTES2 on a guest_memfd.  Only for the process that owns
 * the VM: others are given the file so that they can map shared memory.
 */
static long gmem_convert_file_ioctl(struct kvm *kvm, struct inode *inode,
				    struct kvm_memory_attributes2 __user *uattrs)
{
	/*
	 * Each is written as a whole before it is read; clearing them first would cost
	 * noticeable time.
	 */
	struct kvm_memory_attributes2 attrs __uninitialized;
	struct request rq __uninitialized;
	struct part part __uninitialized;
	struct kvm_gmem_state *state;
	int r;

	if (kvm->mm != current->mm || READ_ONCE(kvm->vm_dead))
		return -EIO;

	if (copy_from_user(&attrs, uattrs, sizeof(attrs)))
		return -EFAULT;

	r = gmem_convert_check_fields(&attrs, i_size_read(inode));
	if (r)
		return r;

	gmem_convert_init(&rq, kvm, &attrs);
	rq.err_ino = inode->i_ino;
	if (!gmem_convert_policy_is_supported(&rq))
		return gmem_convert_end(&rq, inode, -EOPNOTSUPP, uattrs);

	state = kvm_gmem_state(inode);
	if (gmem_convert_is_done(&rq, state))
		return gmem_convert_end(&rq, inode, 0, uattrs);

	part = (struct part){
		.inode = inode,
		.state = state,
		.start = rq.start,
		.end = rq.end,
		.locks = true,
	};
	rq.parts = &part;
	rq.nr_parts = 1;
	r = gmem_convert(&rq, gmem_convert_try_file);

	return gmem_convert_end(&rq, inode, r, uattrs);
}

/* The ioctls of a guest_memfd. */
long kvm_gmem_convert_ioctl(struct kvm *kvm, struct inode *inode,
			    unsigned int ioctl, unsigned long arg)
{
	if (!kvm_gmem_is_in_place(inode))
		return -ENOTTY;

	switch (ioctl) {
	case KVM_SET_MEMORY_ATTRIBUTES2:
		return gmem_convert_file_ioctl(kvm, inode, (void __user *)arg);
	case KVM_GET_MEMORY_ATTRIBUTES2:
		return kvm_gmem_get_attributes(inode, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

/* Add gfns [start, end) as a part, in the file of @slot if there is one. */
static int gmem_convert_add_part(struct request *rq, struct kvm_memory_slot *slot,
				 gfn_t start, gfn_t end)
{
	struct part *part = &rq->parts[rq->nr_parts++];

	*part = (struct part){ .start = start, .end = end };
	gmem_convert_stop_at(rq, part, start);

	if (!slot) {
		/* Outside files in place nothing is promised about contents. */
		return rq->policy == KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE ?
		       0 : -EOPNOTSUPP;
	}

	/* The file is gone: nothing can be converted there any more. */
	if (!slot->gmem.state)
		return -EINVAL;

	/* slots_lock keeps the release of the file waiting, and so keeps the inode. */
	part->inode = file_inode(slot->gmem.file);
	part->state = slot->gmem.state;
	part->shift = slot->base_gfn - slot->gmem.pgoff;
	part->start -= part->shift;
	part->end -= part->shift;
	gmem_convert_stop_at(rq, part, part->start);

	return gmem_convert_policy_is_supported(rq) ? 0 : -EOPNOTSUPP;
}

/*
 * Cut the request into parts, in the order of gfns.  There is room for two parts
 * for each memslot that the range touches, and one more.
 */
static int gmem_convert_make_parts(struct request *rq)
{
	struct kvm_memslots *slots = __kvm_memslots(rq->kvm, 0);
	struct kvm_memslot_iter iter;
	gfn_t next = rq->start;
	int r;

	kvm_for_each_memslot_in_gfn_range(&iter, slots, rq->start, rq->end) {
		struct kvm_memory_slot *slot = iter.slot;
		gfn_t first = max(rq->start, slot->base_gfn);
		gfn_t last = min(rq->end, slot->base_gfn + slot->npages);

		if (first >= last || !kvm_gmem_slot_is_in_place(rq->kvm, slot))
			continue;

		if (next < first) {
			r = gmem_convert_add_part(rq, NULL, next, first);
			if (r)
				return r;
		}

		r = gmem_convert_add_part(rq, slot, first, last);
		if (r)
			return r;
		next = last;
	}

	return next < rq->end ? gmem_convert_add_part(rq, NULL, next, rq->end) : 0;
}

static int gmem_convert_compare_files(const void *_a, const void *_b)
{
	const struct part *a = *(const struct part **)_a, *b = *(const struct part **)_b;

	if (a->inode != b->inode)
		return a->inode < b->inode ? -1 : 1;

	return a < b ? -1 : a > b;
}

/* A file with several memslots has several parts, the first of which locks it. */
static int gmem_convert_choose_locks(struct request *rq)
{
	struct part **sorted;
	int i;

	if (rq->nr_parts == 1) {
		rq->parts->locks = rq->parts->inode;
		return 0;
	}

	sorted = kvmalloc_objs(*sorted, rq->nr_parts, GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL);
	if (!sorted)
		return -ENOMEM;

	for (i = 0; i < rq->nr_parts; i++)
		sorted[i] = &rq->parts[i];
	sort(sorted, rq->nr_parts, sizeof(*sorted), gmem_convert_compare_files, NULL);
	for (i = 0; i < rq->nr_parts; i++)
		sorted[i]->locks = sorted[i]->inode &&
				   (!i || sorted[i]->inode != sorted[i - 1]->inode);

	kvfree(sorted);
	return 0;
}

/* Memslots and their bindings stay as they are during a try, but not while it waits. */
static int gmem_convert_try_vm(struct request *rq)
{
	struct kvm_memslot_iter iter;
	struct part whole = {};
	int room = 1, r;

	r = mutex_lock_killable(&rq->kvm->slots_lock);
	if (r)
		return r;

	kvm_for_each_memslot_in_gfn_range(&iter, __kvm_memslots(rq->kvm, 0), rq->start, rq->end)
		room += 2;

	rq->nr_parts = 0;
	rq->parts = kvmalloc_objs(*rq->parts, room, GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL);
	gmem_convert_stop_at(rq, &whole, rq->start);
	r = rq->parts ? gmem_convert_make_parts(rq) : -ENOMEM;
	if (!r) {
		gmem_convert_stop_at(rq, &whole, rq->start);
		r = gmem_convert_choose_locks(rq);
	}
	if (!r)
		r = gmem_convert_try(rq);

	kvfree(rq->parts);
	mutex_unlock(&rq->kvm->slots_lock);

	return r;
}

/*
 * KVM_SET_MEMORY_ATTRIBUTES2 on the VM: guest physical addresses, in as many
 * memslots and files as the range covers.  The caller is the VM's owner.
 */
long kvm_gmem_convert_vm_ioctl(struct kvm *kvm, void __user *argp)
{
	struct kvm_memory_attributes2 __user *uattrs = argp;
	struct kvm_memory_attributes2 attrs __uninitialized;
	struct request rq __uninitialized;
	int r;

	if (!kvm_gmem_supported_attributes(kvm))
		return -ENOTTY;

	if (copy_from_user(&attrs, uattrs, sizeof(attrs)))
		return -EFAULT;

	r = gmem_convert_check_fields(&attrs, U64_MAX);
	if (r)
		return r;

	gmem_convert_init(&rq, kvm, &attrs);
	r = gmem_convert(&rq, gmem_convert_try_vm);

	return gmem_convert_end(&rq, NULL, r, uattrs);
}
