// SPDX-License-Identifier: GPL-2.0
/*
 * How pages of a file in place get into user space, and how they leave it.  A
 * fault maps its page while it holds invalidate_lock, so while a conversion has
 * the lock, no fault is between the lookup of a page and mapping it.
 */
#include <linux/bitops.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/userfaultfd_k.h>

#include "gmem_content.h"
#include "gmem_fault.h"
#include "gmem_state.h"

/* As many neighbours as the kernel maps with a page of any other file. */
#define AROUND_PAGES	(SZ_64K / PAGE_SIZE)

/* After a fault without neighbours, how many faults do not look for any. */
#define AROUND_SKIPS	7

/* How many pages are checked to guess whether a range is mapped. */
#define LOOKED_AT	32

/* Those of @pages (bit 0 is page @first) that are allocated, up to date and healthy. */
static unsigned long gmem_fault_ready(struct address_space *mapping, pgoff_t first,
				      unsigned long pages)
{
	XA_STATE(xas, &mapping->i_pages, first + __ffs(pages));
	unsigned long ready = 0;
	struct folio *folio;

	guard(rcu)();

	/* Those that are found are checked again with a reference. */
	xas_for_each(&xas, folio, first + __fls(pages)) {
		if (!xas_retry(&xas, folio) && folio_test_uptodate(folio) &&
		    !folio_test_hwpoison(folio))
			ready |= BIT(xas.xa_index - first);
	}

	return ready & pages;
}

/*
 * Those of @pages that are not mapped here.  Another thread may remove the page table
 * meanwhile, which RCU frees; the answer is checked again under the table's lock.
 */
static unsigned long gmem_fault_unmapped(struct vm_fault *vmf, pgoff_t first,
					 unsigned long pages)
{
	unsigned long address = vmf->address - ((vmf->pgoff - first) << PAGE_SHIFT);
	unsigned int i;
	pte_t *pte;
	pmd_t pmd;

	guard(rcu)();

	pmd = pmdp_get_lockless(vmf->pmd);
	if (!pmd_present(pmd) || pmd_leaf(pmd))
		return pages;

	pte = pte_offset_kernel(&pmd, address);
	for_each_set_bit(i, &pages, BITS_PER_LONG) {
		if (!pte_none(ptep_get(pte + i)))
			__clear_bit(i, &pages);
	}

	return pages;
}

/* A hint: memory that is touched for the first time has no neighbours. */
static bool gmem_fault_skips_around(struct inode *inode)
{
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	u8 skips = READ_ONCE(state->around_skips);

	if (skips)
		WRITE_ONCE(state->around_skips, skips - 1);
	return skips;
}

/*
 * Map the pages of [first, last] that are allocated, up to date, healthy and
 * shared.  The range is at most a word of pages, in the VMA and below one page
 * table.
 */
static vm_fault_t gmem_fault_map(struct vm_fault *vmf, pgoff_t first, pgoff_t last)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	unsigned int nr = last - first + 1, from, to;
	unsigned long pages;
	vm_fault_t ret = 0;

	pages = ~kvm_gmem_bitmap_read(&state->private, first, nr) & GENMASK(nr - 1, 0);
	if (pages)
		pages = gmem_fault_ready(inode->i_mapping, first, pages);
	if (!(pages & ~BIT(vmf->pgoff - first)))
		WRITE_ONCE(state->around_skips, AROUND_SKIPS);
	if (pages)
		pages = gmem_fault_unmapped(vmf, first, pages);

	for_each_set_bitrange(from, to, &pages, nr)
		ret |= filemap_map_pages(vmf, first + from, first + to - 1);

	return ret;
}

/* A read that need not sleep.  A page that is not ready is left to the fault. */
vm_fault_t kvm_gmem_map_pages(struct vm_fault *vmf, pgoff_t first, pgoff_t last)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	vm_fault_t ret;

	/* fault_around_bytes may have been made larger than a word of pages. */
	if (!kvm_gmem_is_in_place(inode) || last - first >= BITS_PER_LONG ||
	    gmem_fault_skips_around(inode) || !filemap_invalidate_trylock_shared(inode->i_mapping))
		return 0;

	ret = gmem_fault_map(vmf, first, last);
	filemap_invalidate_unlock_shared(inode->i_mapping);

	return ret;
}

/*
 * For a write, kvm_gmem_map_pages() is not called.  Neighbours are mapped as for
 * a read, so that they do not look written.
 */
static void gmem_fault_map_around(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	pgoff_t vma_first = vma->vm_pgoff, vma_last = vma_first + vma_pages(vma) - 1;
	pgoff_t first, last, before = pte_index(vmf->address) % AROUND_PAGES;

	if (!(vmf->flags & FAULT_FLAG_WRITE) ||
	    gmem_fault_skips_around(file_inode(vma->vm_file)) || uffd_disable_fault_around(vma))
		return;

	first = vmf->pgoff - min(before, vmf->pgoff - vma_first);
	last = min(vmf->pgoff - before + AROUND_PAGES - 1, vma_last);

	vmf->flags &= ~FAULT_FLAG_WRITE;
	gmem_fault_map(vmf, first, last);
	vmf->flags |= FAULT_FLAG_WRITE;
}

vm_fault_t kvm_gmem_fault_in_place(struct vm_fault *vmf)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	vm_fault_t ret = VM_FAULT_SIGBUS;
	struct folio *folio;

	/* A task that is killed does not get to see the SIGBUS. */
	if (IS_ERR(kvm_gmem_fault_start(inode)))
		return VM_FAULT_SIGBUS;

	if (kvm_gmem_state_is_private(kvm_gmem_state(inode), vmf->pgoff))
		goto out_unlock;

	folio = kvm_gmem_get_folio(inode, vmf->pgoff);
	if (IS_ERR(folio)) {
		ret = vmf_error(PTR_ERR(folio));
		goto out_unlock;
	}

	if (folio_test_hwpoison(folio) || kvm_gmem_content_fill(folio)) {
		kvm_gmem_note_poison(inode);
		ret = VM_FAULT_HWPOISON;
	} else {
		/* Handles PTE markers too.  On success the mapping has the reference. */
		vmf->page = folio_page(folio, 0);
		ret = finish_fault(vmf);
		vmf->page = NULL;
	}

	folio_unlock(folio);
	if (ret)
		folio_put(folio);
	else
		gmem_fault_map_around(vmf);

	ret = ret ?: VM_FAULT_NOPAGE;
out_unlock:
	kvm_gmem_fault_end(inode);
	return ret;
}

/* Is any of the first pages of the range mapped?  A hint, as only a few are checked. */
bool kvm_gmem_seems_mapped(struct inode *inode, pgoff_t start, pgoff_t end)
{
	XA_STATE(xas, &inode->i_mapping->i_pages, start);
	unsigned int nr = 0;
	struct folio *folio;

	guard(rcu)();

	/* A folio has one page; nothing is known of one that is being freed. */
	xas_for_each(&xas, folio, end - 1) {
		if (!xas_retry(&xas, folio) && atomic_read(&folio->_mapcount) >= 0)
			return true;
		if (++nr == LOOKED_AT)
			break;
	}

	return false;
}

/*
 * Remove the range from user space.  The time depends on how many mappings
 * others have made, so this is better done without invalidate_lock.
 */
void kvm_gmem_unmap(struct inode *inode, pgoff_t start, pgoff_t end)
{
	unmap_mapping_pages(inode->i_mapping, start, end - start, false);

	/*
	 * Order clearing PTEs before reading reference counts.  Pairs with the
	 * atomic increment in GUP-fast, which reads the PTE again after it.
	 */
	smp_mb();
}
