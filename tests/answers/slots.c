// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Slots, the dirty log, and files that outlive their user. */
#include <fcntl.h>

#include "answers.h"

void slots(void)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = SLOT, .flags = KVM_MEM_GUEST_MEMFD, .guest_phys_addr = DATA_GPA,
		.memory_size = PAGES * PAGE, .userspace_addr = (uintptr_t)hva,
		.guest_memfd = gmem_private_fd(ram),
	};
	int other = ioctl(vm.kvm, KVM_CREATE_VM, VM_TYPE);

	result(bind_with(KVM_MEM_LOG_DIRTY_PAGES) == -EINVAL, "dirty_log.slot_cannot_have_it");
	result(bind_with(KVM_MEM_READONLY) == -EINVAL, "slot.cannot_be_read_only");
	check(bind_with(0), "gmem_bind");
	region.flags |= KVM_MEM_LOG_DIRTY_PAGES;
	result(sys(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION2, &region)) == -EINVAL,
	       "dirty_log.cannot_be_switched_on_later");
	region.flags = KVM_MEM_GUEST_MEMFD;
	check(sys(other), "another VM");
	result(sys(ioctl(other, KVM_SET_USER_MEMORY_REGION2, &region)) == -EINVAL,
	       "live_update.file_cannot_be_bound_to_another_vm");
	close(other);
}

void live_update(void)
{
	struct gmem_adopt_opts opts = GMEM_INIT(struct gmem_adopt_opts);
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	int fd = fcntl(gmem_private_fd(ram), F_DUPFD_CLOEXEC, 0);
	struct gmem *again;

	check(gmem_unbind(memories, DATA_GPA, NULL), "gmem_unbind");
	gmem_destroy(ram);
	opts.flags = GMEM_ASK_KERNEL;
	check(gmem_adopt(memories, PAGES * PAGE, fd, -1, &opts, &again), "gmem_adopt");
	check(gmem_lookup(again, 0, &range), "gmem_lookup");
	result(range.size == PAGES / 2 * PAGE && range.attributes == GMEM_SHARED &&
	       !gmem_verify(again, NULL) &&
	       !gmem_convert(again, 0, PAGES * PAGE, GMEM_SHARED, NULL, NULL),
	       "live_update.states_are_the_files");
	gmem_destroy(again);
	close(fd);
}
