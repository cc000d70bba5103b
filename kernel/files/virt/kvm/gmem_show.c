// SPDX-License-Identifier: GPL-2.0
/*
 * What a process that has a guest_memfd can see of it: which pages are private, and
 * the counts in its fdinfo.  No fault and no conversion waits for it.
 */
#include <linux/bitops.h>
#include <linux/delay.h>
#include <linux/kcsan-checks.h>
#include <linux/kvm_host.h>
#include <linux/pagemap.h>
#include <linux/pid_namespace.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "gmem_show.h"
#include "gmem_state.h"

static_assert(sizeof(struct kvm_memory_attributes2_range) == 64);
static_assert(offsetof(struct kvm_memory_attributes2_range, reserved) == 24);

/* How long to wait for a conversion that is storing, and may have been preempted. */
#define PAUSE_USECS	50

/* By how much a range shrinks for the next attempt, after a conversion has spoilt one. */
#define SHRINK_SHIFT	3

/*
 * How far the state of @index reaches, as it was at one instant.  If conversions follow
 * each other without end, or one takes long to store, the answer ends with the word of
 * the tracking that @index is in, which is read in one access.  So this takes about as
 * long as one attempt, whatever others do.
 */
static pgoff_t gmem_show_end(struct kvm_gmem_state *state, pgoff_t index, pgoff_t nr_pages,
			     bool *private)
{
	unsigned int nr_bits = min(BITS_PER_LONG - index % BITS_PER_LONG, nr_pages - index);
	pgoff_t nr, end;
	unsigned long bits;
	unsigned int seq;

	for (nr = nr_pages - index; ; nr = max(nr >> SHRINK_SHIFT, BITS_PER_LONG)) {
		if (raw_seqcount_try_begin(&state->private_seq, seq)) {
			*private = kvm_gmem_bitmap_test(&state->private, index);
			end = kvm_gmem_bitmap_find(&state->private, index, index + nr,
						   !*private);
			if (!read_seqcount_retry(&state->private_seq, seq))
				return end;
		}
		/* Nothing is read under the seqcount now, so KCSAN has to check again. */
		kcsan_atomic_next(0);

		if (nr <= BITS_PER_LONG)
			break;
		usleep_range(PAUSE_USECS, 2 * PAUSE_USECS);
	}

	bits = kvm_gmem_bitmap_read(&state->private, index, nr_bits);
	*private = bits & 1;
	if (*private)
		bits = ~bits;

	return index + find_first_bit(&bits, nr_bits);
}

/* KVM_GET_MEMORY_ATTRIBUTES2 on a guest_memfd that is in place. */
long kvm_gmem_get_attributes(struct inode *inode,
			     struct kvm_memory_attributes2_range __user *urange)
{
	struct kvm_memory_attributes2_range range;
	pgoff_t index, end;
	bool private;
	loff_t size;
	int i;

	if (copy_from_user(&range, urange, sizeof(range)))
		return -EFAULT;

	for (i = 0; i < ARRAY_SIZE(range.reserved); i++) {
		if (range.reserved[i])
			return -EINVAL;
	}
	size = i_size_read(inode);
	if (!PAGE_ALIGNED(range.offset) || range.offset >= size)
		return -EINVAL;

	index = range.offset >> PAGE_SHIFT;
	end = gmem_show_end(kvm_gmem_state(inode), index, size >> PAGE_SHIFT, &private);

	range.size = (u64)(end - index) << PAGE_SHIFT;
	range.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;

	return copy_to_user(urange, &range, sizeof(range)) ? -EFAULT : 0;
}

static void gmem_show_bytes(struct seq_file *m, const char *name, pgoff_t nr_pages)
{
	seq_printf(m, "gmem-%s:\t%llu\n", name, (u64)nr_pages << PAGE_SHIFT);
}

/*
 * In the order of guest addresses.  Taking slots_lock would mean waiting for a long
 * conversion on the VM; under SRCU a memslot stays while it is read.
 */
static void gmem_show_slots(struct seq_file *m, struct kvm *kvm, struct kvm_gmem_state *state)
{
	struct kvm_memslot_iter iter;
	int i;

	guard(srcu)(&kvm->srcu);

	for (i = 0; i < kvm_arch_nr_memslot_as_ids(kvm); i++) {
		kvm_for_each_memslot_in_gfn_range(&iter, __kvm_memslots(kvm, i), 0, ULONG_MAX) {
			struct kvm_memory_slot *slot = iter.slot;

			/* Then everything is printed again, into a larger buffer. */
			if (seq_has_overflowed(m))
				return;

			if (READ_ONCE(slot->gmem.state) != state)
				continue;

			seq_printf(m, "gmem-slot:\t%u gpa 0x%llx size 0x%llx offset 0x%llx\n",
				   slot->as_id << 16 | slot->id, gfn_to_gpa(slot->base_gfn),
				   (u64)slot->npages << PAGE_SHIFT,
				   (u64)slot->gmem.pgoff << PAGE_SHIFT);
		}
	}
}

/* Sizes are in bytes.  During conversions they need not add up. */
void kvm_gmem_show(struct seq_file *m, struct kvm *kvm, struct inode *inode, u64 flags)
{
	struct kvm_gmem_state *state = kvm_gmem_state(inode);
	pgoff_t nr_pages = i_size_read(inode) >> PAGE_SHIFT;
	pgoff_t nr_private = READ_ONCE(state->private.nr_true);

	/* In another PID namespace the number would be nobody's, or a stranger's. */
	if (proc_pid_ns(file_inode(m->file)->i_sb) == &init_pid_ns)
		seq_printf(m, "gmem-vm:\t%d\n", kvm->userspace_pid);
	seq_printf(m, "gmem-flags:\t0x%llx\n", flags);
	seq_printf(m, "gmem-in-place:\t%d\n", state->in_place);
	gmem_show_bytes(m, "size", nr_pages);
	gmem_show_bytes(m, "private", nr_private);
	gmem_show_bytes(m, "shared", nr_pages - nr_private);
	gmem_show_bytes(m, "allocated", READ_ONCE(inode->i_mapping->nrpages));
	seq_printf(m, "gmem-tracking:\t%zu\n", READ_ONCE(state->private.nr_bytes) +
		   READ_ONCE(state->none.nr_bytes));
	gmem_show_slots(m, kvm, state);
}
