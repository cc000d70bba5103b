// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The system calls, one function each. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "internal.h"
#include "kvm_abi.h"

/* Repeat the call as long as signals interrupt it. */
int call(int fd, unsigned long request, void *arg)
{
	int r;

	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);

	return r < 0 ? -errno : r;
}

int create_guest_memfd(int vm_fd, uint64_t size, uint64_t flags)
{
	struct kvm_create_guest_memfd args = { .size = size, .flags = flags };
	int fd = call(vm_fd, KVM_CREATE_GUEST_MEMFD, &args);

	/* KVM has no flag for this; between the two calls the file is open across exec. */
	if (fd >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);

	return fd;
}

int set_attributes_in_place(int fd, uint64_t start, uint64_t size, bool to_private,
			    uint64_t policy, uint64_t *where)
{
	struct kvm_memory_attributes2 args = {
		.offset = start,
		.size = size,
		.attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
		.flags = policy,
	};
	int r = call(fd, KVM_SET_MEMORY_ATTRIBUTES2, &args);

	/* A kernel that does not know it leaves the 0, which may be before the range. */
	*where = args.error_offset >= start && args.error_offset - start < size ?
		 args.error_offset : start;

	return r;
}

int get_attributes_in_place(int fd, uint64_t offset, uint64_t *size, bool *is_private)
{
	struct kvm_memory_attributes2_range args = { .offset = offset };
	int r = call(fd, KVM_GET_MEMORY_ATTRIBUTES2, &args);

	*size = args.size;
	*is_private = args.attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;

	return r == -ENOTTY ? -EOPNOTSUPP : r;
}

int set_attributes_of_vm(int vm_fd, uint64_t gpa, uint64_t size, bool to_private)
{
	struct kvm_memory_attributes args = {
		.address = gpa,
		.size = size,
		.attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	return call(vm_fd, KVM_SET_MEMORY_ATTRIBUTES, &args);
}

int set_slot(int vm_fd, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva,
	     int fd, uint64_t offset)
{
	struct kvm_userspace_memory_region2 args = {
		.slot = slot,
		.flags = size ? KVM_MEM_GUEST_MEMFD | flags : 0,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
		.guest_memfd_offset = offset,
		.guest_memfd = size ? (unsigned int)fd : 0,
	};

	return call(vm_fd, KVM_SET_USER_MEMORY_REGION2, &args);
}

int punch_hole(int fd, uint64_t offset, uint64_t size)
{
	int r;

	do
		r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
	while (r < 0 && errno == EINTR);

	return r < 0 ? -errno : 0;
}

int discard_mapping(void *hva, uint64_t size)
{
	int r = madvise(hva, size, MADV_REMOVE);

	/* Private mappings have no file to punch.  In a file this would not give zeros. */
	if (r && errno == EINVAL)
		r = madvise(hva, size, MADV_DONTNEED);

	return r ? -errno : 0;
}
