// SPDX-License-Identifier: GPL-2.0
/*
 * What is read from a page after a conversion.  Where the guest loses its mapping,
 * the conversion itself does not touch memory: it notes what the page is to hold,
 * and the next fault fills the page.
 */
#include <linux/highmem.h>
#include <linux/kvm_host.h>
#include <linux/pagemap.h>
#include <linux/rcupdate_wait.h>
#include <linux/sched/signal.h>

#include "gmem_content.h"
#include "gmem_stat.h"
#include "gmem_state.h"

#define POLICY(name)	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_##name

/* By default an architecture promises nothing. */
u32 __weak kvm_arch_gmem_content_policies(struct kvm *kvm)
{
	if (kvm && !kvm_arch_has_private_mem(kvm))
		return 0;

	return KVM_MEMORY_ATTRIBUTES2_TO_SHARED(POLICY(NONE)) |
	       KVM_MEMORY_ATTRIBUTES2_TO_PRIVATE(POLICY(NONE));
}

u8 __weak kvm_arch_gmem_none_byte(struct kvm *kvm)
{
	return 0;
}

/* By default, mappings of private and shared pages differ. */
bool __weak kvm_arch_gmem_keeps_mappings(struct kvm *kvm, u64 policy)
{
	return false;
}

u32 kvm_gmem_content_policies(struct kvm *kvm)
{
	return kvm_arch_gmem_content_policies(kvm);
}

/*
 * Bring a locked folio up to date.  Touching the memory of a poisoned one would
 * be fatal, and memory failure, which needs no lock, may have poisoned it since
 * it was looked up.  A folio that is not filled must not be mapped.
 */
int kvm_gmem_content_fill(struct folio *folio)
{
	struct inode *inode = folio->mapping->host;
	struct kvm_gmem_state *state = kvm_gmem_state(inode);

	if (folio_test_uptodate(folio))
		return 0;

	if (folio_test_hwpoison(folio))
		return -EHWPOISON;

	if (state->in_place)
		lockdep_assert_held(&inode->i_mapping->invalidate_lock);

	if (kvm_gmem_bitmap_test(&state->none, folio->index)) {
		memset_page(folio_page(folio, 0), 0, state->none_byte, PAGE_SIZE);
		flush_dcache_folio(folio);
	} else {
		clear_highpage(folio_page(folio, 0));
	}

	folio_mark_uptodate(folio);
	/* A fault holds the file or a memslot of it, and so the VM. */
	if (state->in_place)
		atomic64_inc(kvm_gmem_stat(state->kvm, pages_filled));
	return 0;
}

/* A hole reads zeros, whatever policy a conversion had left there. */
int kvm_gmem_content_discard(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct kvm_gmem_bitmap *none = &kvm_gmem_state(inode)->none;
	pgoff_t err_index;
	int r;

	lockdep_assert_held_write(&inode->i_mapping->invalidate_lock);

	r = kvm_gmem_bitmap_reserve(none, start, end, false, &err_index);
	if (!r)
		kvm_gmem_bitmap_commit(none, start, end, false);

	return r;
}

/* Does the policy change which pages of the range are to be filled with none_byte? */
static bool gmem_content_changes_none(struct kvm_gmem_state *state, pgoff_t start,
				      pgoff_t end, u64 policy, bool *none)
{
	*none = policy == POLICY(NONE) && state->none_byte;

	return policy != POLICY(PRESERVE) &&
	       kvm_gmem_bitmap_find(&state->none, start, end, !*none) < end;
}

int kvm_gmem_content_reserve(struct inode *inode, pgoff_t start, pgoff_t end,
			     bool to_private, u64 policy, pgoff_t *err_index)
{
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	bool none;

	lockdep_assert_held_write(&inode->i_mapping->invalidate_lock);

	if (!gmem_content_changes_none(state, start, end, policy, &none))
		return 0;

	return kvm_gmem_bitmap_reserve_masked(&state->none, &state->private, !to_private,
					      start, end, none, err_index);
}

void kvm_gmem_content_release(struct inode *inode, pgoff_t start, pgoff_t end,
			      bool to_private, u64 policy)
{
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	bool none;

	if (gmem_content_changes_none(state, start, end, policy, &none))
		kvm_gmem_bitmap_release_masked(&state->none, &state->private, !to_private,
					       start, end);
}

/* Hand the pages to the host.  May sleep, so the walk is separate from the next one. */
static void gmem_content_reclaim(struct inode *inode, pgoff_t start, pgoff_t end)
{
#ifdef CONFIG_HAVE_KVM_ARCH_GMEM_RECLAIM
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	struct folio *folio;
	unsigned long index;

	xa_for_each_range(&inode->i_mapping->i_pages, index, folio, start, end - 1) {
		if (kvm_gmem_state_is_private(state, index))
			kvm_arch_gmem_reclaim(folio_pfn(folio), folio_nr_pages(folio));
		cond_resched();
	}
#endif
}

/*
 * Make the next fault fill each page that changes.  In a mixed range the state of
 * each page is looked up, which is cheaper than finding each run.
 */
static void gmem_content_forget(struct inode *inode, pgoff_t start, pgoff_t end,
				bool to_private)
{
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	XA_STATE(xas, &inode->i_mapping->i_pages, start);
	unsigned int nr_seen = 0;
	struct folio *folio;
	bool mixed;

	mixed = kvm_gmem_bitmap_find(&state->private, start, end, to_private) < end;

	guard(rcu)();

	/* Folios stay: they are dirty, and holes take invalidate_lock, which is held. */
	xas_for_each(&xas, folio, end - 1) {
		if (xas_retry(&xas, folio))
			continue;

		if (!mixed || kvm_gmem_state_is_private(state, folio->index) != to_private)
			folio_clear_uptodate(folio);

		if (++nr_seen % XA_CHECK_SCHED == 0) {
			xas_pause(&xas);
			cond_resched_rcu();
		}
	}
}

/*
 * A page that the guest keeps mapped meets no fault that could fill it: clear each
 * page that changes.  One that is not up to date is filled by the fault that brings
 * it in, and one that is poisoned is not touched.  A fatal signal leaves the rest as
 * it was.
 */
int kvm_gmem_content_clear(struct inode *inode, pgoff_t start, pgoff_t end,
			   bool to_private)
{
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	struct folio *folio;
	unsigned long index;

	lockdep_assert_held_write(&inode->i_mapping->invalidate_lock);

	xa_for_each_range(&inode->i_mapping->i_pages, index, folio, start, end - 1) {
		if (fatal_signal_pending(current))
			return -EINTR;

		if (kvm_gmem_state_is_private(state, index) != to_private &&
		    folio_test_uptodate(folio) && !folio_test_hwpoison(folio)) {
			clear_highpage(folio_page(folio, 0));
			flush_dcache_folio(folio);
		}
		cond_resched();
	}

	return 0;
}

/*
 * Decide what the pages that are about to change their state will hold; the others
 * keep their contents.  Needs the attributes as they were before.  With @mapped,
 * the guest keeps its mappings, and pages already hold what they are to hold.
 */
void kvm_gmem_content_commit(struct inode *inode, pgoff_t start, pgoff_t end,
			     bool to_private, u64 policy, bool mapped)
{
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	bool none;

	lockdep_assert_held_write(&inode->i_mapping->invalidate_lock);

	if (!to_private)
		gmem_content_reclaim(inode, start, end);
	if (policy == POLICY(PRESERVE) || mapped)
		return;

	gmem_content_forget(inode, start, end, to_private);
	if (gmem_content_changes_none(state, start, end, policy, &none))
		kvm_gmem_bitmap_commit_masked(&state->none, &state->private, !to_private,
					      start, end, none);
}
