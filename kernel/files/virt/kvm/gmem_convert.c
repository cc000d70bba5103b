// SPDX-License-Identifier: GPL-2.0
/*
 * In-place conversion of guest_memfd memory between private and shared: the
 * ioctls, and the conversion from top to bottom.
 *
 * mapping->invalidate_lock is the one lock: exclusive to convert, shared to
 * fault.  It is not taken under mmu_lock, and while it is held exclusively no
 * folio lock is waited for.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rcupdate_wait.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include "gmem_convert.h"

/* The page cache holds one reference to each page; no other is owed to anyone. */
#define PAGE_CACHE_REFS		1

/*
 * How long a reference may be one that goes by itself.  With FOLL_PIN that is
 * GUP-fast that is backing out.  Without, it is also another thread's munmap()
 * that has yet to flush the TLB, or a user fault that came second; either may
 * have been preempted, and gets on as soon as its task is scheduled.
 */
#define TRANSIENT_PIN_MSECS	5
#define TRANSIENT_REF_MSECS	100

/*
 * A locked folio is a user fault that has been answered and not yet mapped.  It
 * ends as soon as its task is scheduled.
 */
#define FAULT_IN_FLIGHT_MSECS	1000

/* From how many pages on it takes less to unmap twice than to hold the lock. */
#define UNMAP_AHEAD_PAGES	16

void kvm_gmem_state_init(struct kvm_gmem_state *state, struct kvm *kvm,
			 loff_t size, u64 flags)
{
	bool is_private = !(flags & GUEST_MEMFD_FLAG_INIT_SHARED);

	/*
	 * A file that the host can not map holds the private half of memory in
	 * two halves, if the VM has private memory at all.
	 */
	if (kvm_arch_has_private_mem(kvm)) {
		state->in_place = flags & GUEST_MEMFD_FLAG_MMAP;
		is_private |= !state->in_place;
	}

	kvm_gmem_bitmap_init(&state->attributes.private, size >> PAGE_SHIFT,
			     is_private);
	kvm_gmem_bitmap_init(&state->content.none, size >> PAGE_SHIFT, false);
	state->content.none_byte = kvm_arch_gmem_none_byte(kvm);
}

void kvm_gmem_state_destroy(struct kvm_gmem_state *state)
{
	kvm_gmem_bitmap_destroy(&state->attributes.private);
	kvm_gmem_bitmap_destroy(&state->content.none);
}

/*
 * A fault asks who may use the page, fills it and, for a vCPU, drops its
 * reference, all without a conversion in between.
 */
void kvm_gmem_fault_start(struct inode *inode)
{
	if (kvm_gmem_is_in_place(inode))
		filemap_invalidate_lock_shared(inode->i_mapping);
}

void kvm_gmem_fault_end(struct inode *inode)
{
	if (kvm_gmem_is_in_place(inode))
		filemap_invalidate_unlock_shared(inode->i_mapping);
}

/*
 * What a vCPU's fault takes along: no reference if the file is in place, or
 * conversions would fail for as long as the guest keeps faulting.  The pfn is
 * good until the invalidation that mmu_invalidate_retry_gfn() detects, as the
 * page is neither freed nor converted outside of one.
 */
struct page *kvm_gmem_fault_page(struct inode *inode, struct folio *folio,
				 struct page *page)
{
	if (!kvm_gmem_is_in_place(inode))
		return page;

	folio_put(folio);
	return NULL;
}

/*
 * Take the range away from user space.  Faults that were answered before the
 * caller took invalidate_lock can still map a page afterwards; they hold a
 * reference until then and are unmapped by the next call.
 */
static void unmap_users(struct inode *inode, pgoff_t start, pgoff_t end)
{
	unmap_mapping_pages(inode->i_mapping, start, end - start, false);

	/*
	 * Order clearing PTEs before reading reference counts.  Pairs with the
	 * atomic increment in GUP-fast, which looks at the PTE again after it.
	 */
	smp_mb();
}

static bool is_held(struct folio *folio)
{
	return folio_ref_count(folio) > PAGE_CACHE_REFS;
}

/*
 * The first page that refuses the conversion: poisoned, or on the way to
 * private and held by somebody.  Pages that do not change are not asked.
 */
static struct folio *find_refusal(struct inode *inode, pgoff_t start,
				  pgoff_t end, bool to_private)
{
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	XA_STATE(xas, &inode->i_mapping->i_pages, start);
	unsigned int nr_seen = 0;
	struct folio *folio;

	guard(rcu)();

	/* Folios stay: they are dirty, and holes take invalidate_lock, which is held. */
	xas_for_each(&xas, folio, end - 1) {
		if (xas_retry(&xas, folio))
			continue;

		if ((folio_test_hwpoison(folio) || (to_private && is_held(folio))) &&
		    kvm_gmem_attributes_is_private(&state->attributes, folio->index) != to_private)
			return folio;

		if (++nr_seen % XA_CHECK_SCHED == 0) {
			xas_pause(&xas);
			cond_resched_rcu();
		}
	}

	return NULL;
}

/*
 * Make sure that nobody but the page cache has a reference to a page that goes
 * private, as whoever has one could read and write what the guest believes to
 * be its own.  References that go away by themselves are waited for.
 *
 *	CPU0: user fault			CPU1: conversion
 *	lock shared, page is shared
 *	get folio, unlock
 *						lock exclusive
 *						unmap: nothing there yet
 *						one reference too many
 *	map it, the mapping has the reference
 *						unmap again: reference gone
 */
static int check_folios(struct inode *inode, pgoff_t start, pgoff_t end,
			bool to_private, pgoff_t *err_index)
{
	enum lru_cache_drained drained = LRU_CACHE_NOT_DRAINED;
	struct folio *folio, *refused = NULL;
	unsigned long began = 0;

	if (to_private)
		unmap_users(inode, start, end);

	while ((folio = find_refusal(inode, start, end, to_private))) {
		unsigned int patience = TRANSIENT_PIN_MSECS;

		*err_index = folio->index;

		if (folio_test_hwpoison(folio))
			return -EHWPOISON;

		/* Whoever waits for this process to die must not wait for pages. */
		if (fatal_signal_pending(current))
			return -EINTR;

		/*
		 * Pages in front have been seen without a user.  None can come back, as
		 * faults are locked out; who merely looks into the page cache has a
		 * reference for a moment, and must not be able to start this over.
		 */
		start = folio->index;
		if (folio != refused) {
			refused = folio;
			began = jiffies;
		}

		/*
		 * A new page is in a per-CPU LRU batch, which has a reference;
		 * so is one that a fault in flight has mapped with VM_LOCKED.
		 */
		if (folio_test_locked(folio) || folio_mapped(folio)) {
			patience = FAULT_IN_FLIGHT_MSECS;
			drained = LRU_CACHE_NOT_DRAINED;
		} else if (!folio_maybe_dma_pinned(folio)) {
			patience = TRANSIENT_REF_MSECS;
			lru_cache_drain_for_folio(folio, 0, &drained);
			if (!is_held(folio))
				continue;
		}

		if (time_after(jiffies, began + msecs_to_jiffies(patience)))
			return -EAGAIN;

		usleep_range(20, 100);
		unmap_users(inode, start, start + 1);
	}

	return 0;
}

/*
 * A piece of a conversion: pages [start, end) of a file, or gfns that the VM's
 * own attributes decide on.  @shift leads from a page to where the request
 * counts it, a page of the file or a gfn.
 */
struct part {
	struct inode *inode;
	pgoff_t start;
	pgoff_t end;
	pgoff_t shift;
};

/*
 * Lock every file once: one with several memslots has several parts.  Nobody else
 * holds two of these locks, as slots_lock is held for that and a file belongs to
 * one VM.
 */
static void lock_parts(struct kvm *kvm, struct part *parts, int nr_parts)
{
	struct inode *inode;
	int i;

	for (i = 0; i < nr_parts; i++) {
		inode = parts[i].inode;
		if (!inode)
			continue;

		if (nr_parts == 1) {
			filemap_invalidate_lock(inode->i_mapping);
		} else if (!kvm_gmem_state(inode)->is_part) {
			down_write_nest_lock(&inode->i_mapping->invalidate_lock,
					     &kvm->slots_lock);
			kvm_gmem_state(inode)->is_part = true;
		}
	}
}

static void unlock_parts(struct part *parts, int nr_parts)
{
	struct inode *inode;
	int i;

	for (i = 0; i < nr_parts; i++) {
		inode = parts[i].inode;
		if (!inode)
			continue;

		if (nr_parts == 1) {
			filemap_invalidate_unlock(inode->i_mapping);
		} else if (kvm_gmem_state(inode)->is_part) {
			kvm_gmem_state(inode)->is_part = false;
			filemap_invalidate_unlock(inode->i_mapping);
		}
	}
}

/* Everything that a part must allocate; on failure it has reserved nothing. */
static int reserve_part(struct kvm *kvm, struct part *part, bool to_private,
			u64 policy, pgoff_t *err_index)
{
	struct kvm_gmem_bitmap *private;
	int r;

	if (!part->inode)
		return kvm_gmem_reserve_vm_attributes(kvm, part->start, part->end,
						      to_private, err_index);

	/* Pages that are as requested keep everything, those in front are not visited. */
	private = &kvm_gmem_state(part->inode)->attributes.private;
	part->start = kvm_gmem_bitmap_find(private, part->start, part->end, !to_private);
	if (part->start == part->end)
		return 0;

	r = kvm_gmem_bitmap_reserve(private, part->start, part->end, to_private, err_index);
	if (r)
		return r;

	r = kvm_gmem_content_reserve(part->inode, part->start, part->end, to_private,
				     policy, err_index);
	if (r)
		kvm_gmem_bitmap_release(private, part->start, part->end);

	return r;
}

static void release_part(struct kvm *kvm, struct part *part, bool to_private)
{
	if (!part->inode) {
		if (to_private)
			kvm_gmem_release_vm_attributes(kvm, part->start, part->end);
		return;
	}

	if (part->start == part->end)
		return;

	kvm_gmem_content_release(part->inode, part->start, part->end, to_private);
	kvm_gmem_bitmap_release(&kvm_gmem_state(part->inode)->attributes.private,
				part->start, part->end);
}

/*
 * Only mappings of the old kind are zapped.  Where a private page can not be
 * zapped without losing its contents, one that stays private is safe.
 */
static void commit_part(struct kvm *kvm, struct part *part, bool to_private, u64 policy)
{
	u64 attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
	pgoff_t start = part->start, end = part->end;
	struct inode *inode = part->inode;
	bool keep;

	if (!inode) {
		/* Reserved, and not in place: nothing is left that could fail. */
		WARN_ON_ONCE(kvm_vm_set_mem_attributes(kvm, start, end, attributes));
		return;
	}

	if (start == end)
		return;

	/*
	 * A fault in flight maps the same page with the same contents, so if a
	 * mapping has no kind either, there is nothing to retry or to zap.
	 */
	keep = policy == KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE &&
	       kvm_arch_gmem_preserve_keeps_mappings(kvm);

	if (!keep)
		kvm_gmem_invalidate_start(inode, start, end, to_private ?
					  KVM_FILTER_SHARED : KVM_FILTER_PRIVATE);
	kvm_gmem_content_commit(inode, start, end, to_private, policy);
	kvm_gmem_bitmap_commit(&kvm_gmem_state(inode)->attributes.private, start, end,
			       to_private);
	if (!keep)
		kvm_gmem_invalidate_end(inode, start, end);
}

/*
 * Convert all parts, or nothing.  On failure user mappings may be gone, they
 * fault back in; @err_index is then the lowest page that stands in the way, as
 * the request counts it.
 */
static int kvm_gmem_convert(struct kvm *kvm, struct part *parts, int nr_parts,
			    bool to_private, u64 policy, pgoff_t *err_index)
{
	int i, reserved, r = 0;

	/*
	 * Faults on other pages wait for the lock, so take it when most of the range
	 * is unmapped.  What is mapped again until then goes in check_folios().
	 */
	for (i = 0; to_private && i < nr_parts; i++) {
		if (parts[i].inode && parts[i].end - parts[i].start >= UNMAP_AHEAD_PAGES)
			unmap_users(parts[i].inode, parts[i].start, parts[i].end);
	}

	lock_parts(kvm, parts, nr_parts);

	for (reserved = 0; reserved < nr_parts; reserved++) {
		struct part *part = &parts[reserved];

		r = reserve_part(kvm, part, to_private, policy, err_index);
		if (r) {
			*err_index += part->shift;
			goto out_release;
		}
	}

	for (i = 0; i < nr_parts; i++) {
		struct part *part = &parts[i];

		if (!part->inode || part->start == part->end)
			continue;

		r = check_folios(part->inode, part->start, part->end, to_private, err_index);
		if (r) {
			*err_index += part->shift;
			goto out_release;
		}
	}

	/*
	 * The point of no return: from here on nothing fails, and the guest may
	 * act on the new state as soon as it is stored.
	 */
	for (i = 0; i < nr_parts; i++)
		commit_part(kvm, &parts[i], to_private, policy);
	goto out_unlock;

out_release:
	while (reserved--)
		release_part(kvm, &parts[reserved], to_private);
out_unlock:
	unlock_parts(parts, nr_parts);
	return r;
}

static int check_request(const struct kvm_memory_attributes2 *attrs, u64 limit)
{
	u64 policy = attrs->flags & KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_MASK;

	if (attrs->flags != policy ||
	    policy > KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE)
		return -EINVAL;
	if (attrs->attributes & ~KVM_MEMORY_ATTRIBUTE_PRIVATE)
		return -EINVAL;
	if (memchr_inv(attrs->reserved, 0, sizeof(attrs->reserved)))
		return -EINVAL;
	if (!PAGE_ALIGNED(attrs->offset) || !PAGE_ALIGNED(attrs->size))
		return -EINVAL;
	if (!attrs->size || attrs->offset >= limit ||
	    attrs->size > limit - attrs->offset)
		return -EINVAL;

	return 0;
}

static bool policy_is_supported(struct kvm *kvm, bool to_private, u64 policy)
{
	u32 bit = to_private ? KVM_MEMORY_ATTRIBUTES2_TO_PRIVATE(policy) :
			       KVM_MEMORY_ATTRIBUTES2_TO_SHARED(policy);

	return kvm_gmem_content_policies(kvm) & bit;
}

/*
 * Report where a conversion failed.  Nothing is written after success: one that
 * happened is reported whatever the struct can take.
 */
static long report(int r, pgoff_t err_index, struct kvm_memory_attributes2 __user *uattrs)
{
	if (r && put_user((u64)err_index << PAGE_SHIFT, &uattrs->error_offset))
		return -EFAULT;

	return r;
}

/*
 * KVM_SET_MEMORY_ATTRIBUTES2 on a guest_memfd.  Only for the process that owns
 * the VM: others are given the file so that they can map shared memory.
 */
static long file_set_attributes(struct kvm *kvm, struct inode *inode,
				struct kvm_memory_attributes2 __user *uattrs)
{
	struct kvm_memory_attributes2 attrs;
	struct part part = { .inode = inode };
	pgoff_t err_index;
	bool to_private;
	int r;

	if (kvm->mm != current->mm || READ_ONCE(kvm->vm_dead))
		return -EIO;

	if (copy_from_user(&attrs, uattrs, sizeof(attrs)))
		return -EFAULT;

	r = check_request(&attrs, i_size_read(inode));
	if (r)
		return r;

	to_private = attrs.attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;
	part.start = attrs.offset >> PAGE_SHIFT;
	part.end = (attrs.offset + attrs.size) >> PAGE_SHIFT;
	err_index = part.start;

	if (policy_is_supported(kvm, to_private, attrs.flags))
		r = kvm_gmem_convert(kvm, &part, 1, to_private, attrs.flags, &err_index);
	else
		r = -EOPNOTSUPP;

	return report(r, err_index, uattrs);
}

/* The ioctls of a guest_memfd. */
long kvm_gmem_convert_ioctl(struct kvm *kvm, struct inode *inode,
			    unsigned int ioctl, unsigned long arg)
{
	if (!kvm_gmem_is_in_place(inode))
		return -ENOTTY;

	switch (ioctl) {
	case KVM_SET_MEMORY_ATTRIBUTES2:
		return file_set_attributes(kvm, inode, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

/* Add gfns [start, end) to the parts, in the file of @slot if it decides on them. */
static int add_part(struct kvm *kvm, struct part *part, struct kvm_memory_slot *slot,
		    gfn_t start, gfn_t end, bool to_private, u64 policy)
{
	*part = (struct part){ .start = start, .end = end };

	if (!slot) {
		/* What is not in place promises nothing about contents. */
		return policy == KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE ?
		       0 : -EOPNOTSUPP;
	}

	/* The file is gone: nothing can be converted there any more. */
	if (!slot->gmem.state)
		return -EINVAL;

	/* slots_lock keeps the file's release from going on, and so the inode. */
	part->inode = file_inode(slot->gmem.file);
	part->shift = slot->base_gfn - slot->gmem.pgoff;
	part->start -= part->shift;
	part->end -= part->shift;

	return policy_is_supported(kvm, to_private, policy) ? 0 : -EOPNOTSUPP;
}

/*
 * Cut [start, end) into parts, in the order of gfns.  @parts has room for two
 * for each memslot that the range touches, and one.
 */
static int make_parts(struct kvm *kvm, struct part *parts, int *nr_parts, gfn_t start,
		      gfn_t end, bool to_private, u64 policy, pgoff_t *err_index)
{
	struct kvm_memslots *slots = __kvm_memslots(kvm, 0);
	struct kvm_memslot_iter iter;
	gfn_t next = start;
	int r;

	*nr_parts = 0;
	kvm_for_each_memslot_in_gfn_range(&iter, slots, start, end) {
		struct kvm_memory_slot *slot = iter.slot;
		gfn_t first = max(start, slot->base_gfn);
		gfn_t last = min(end, slot->base_gfn + slot->npages);

		if (first >= last || !kvm_gmem_slot_is_in_place(kvm, slot))
			continue;

		if (next < first) {
			*err_index = next;
			r = add_part(kvm, &parts[(*nr_parts)++], NULL, next, first,
				     to_private, policy);
			if (r)
				return r;
		}

		*err_index = first;
		r = add_part(kvm, &parts[(*nr_parts)++], slot, first, last, to_private, policy);
		if (r)
			return r;
		next = last;
	}

	*err_index = next;
	return next < end ? add_part(kvm, &parts[(*nr_parts)++], NULL, next, end,
				     to_private, policy) : 0;
}

/*
 * KVM_SET_MEMORY_ATTRIBUTES2 on the VM: guest physical addresses, in as many
 * memslots and files as the range covers.  The caller is the VM's owner.
 */
long kvm_gmem_convert_vm_ioctl(struct kvm *kvm, void __user *argp)
{
	struct kvm_memory_attributes2 __user *uattrs = argp;
	struct kvm_memory_attributes2 attrs;
	struct kvm_memslot_iter iter;
	int nr_parts = 1, r;
	struct part *parts;
	pgoff_t err_index;
	bool to_private;
	gfn_t start, end;

	if (!kvm_gmem_supported_attributes(kvm))
		return -ENOTTY;

	if (copy_from_user(&attrs, uattrs, sizeof(attrs)))
		return -EFAULT;

	r = check_request(&attrs, U64_MAX);
	if (r)
		return r;

	to_private = attrs.attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;
	start = attrs.address >> PAGE_SHIFT;
	end = (attrs.address + attrs.size) >> PAGE_SHIFT;
	err_index = start;

	/* Memslots and their bindings stay as they are until all is done. */
	mutex_lock(&kvm->slots_lock);

	kvm_for_each_memslot_in_gfn_range(&iter, __kvm_memslots(kvm, 0), start, end)
		nr_parts += 2;

	parts = kvmalloc_objs(*parts, nr_parts, GFP_KERNEL_ACCOUNT);
	if (parts)
		r = make_parts(kvm, parts, &nr_parts, start, end, to_private,
			       attrs.flags, &err_index);
	else
		r = -ENOMEM;

	if (!r)
		r = kvm_gmem_convert(kvm, parts, nr_parts, to_private, attrs.flags, &err_index);

	kvfree(parts);
	mutex_unlock(&kvm->slots_lock);

	return r == -EINVAL ? r : report(r, err_index, uattrs);
}
