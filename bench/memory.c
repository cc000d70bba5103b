// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The memory of a guest, in place or in two halves, converted as a VMM does it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

const char *const way_names[] = { "in_place", "halves", "halves_keep" };
const char *const policy_names[] = { "zero", "preserve", "none" };

void memory_bind(struct memory *memory)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = memory->slot,
		.flags = KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = memory->gpa,
		.memory_size = memory->size,
		.userspace_addr = (uintptr_t)memory->host,
		.guest_memfd = memory->fd,
	};

	if (ioctl(memory->guest->fd, KVM_SET_USER_MEMORY_REGION2, &region))
		die("KVM_SET_USER_MEMORY_REGION2 of slot %u", memory->slot);
}

void memory_unbind(struct memory *memory)
{
	struct kvm_userspace_memory_region2 region = { .slot = memory->slot };

	if (ioctl(memory->guest->fd, KVM_SET_USER_MEMORY_REGION2, &region))
		die("removing slot %u", memory->slot);
}

void memory_create(struct memory *memory, struct guest *guest, enum way way,
		   unsigned int slot, uint64_t gpa, uint64_t size, bool shared)
{
	struct kvm_create_guest_memfd args = { .size = size };
	int backing;

	*memory = (struct memory){
		.way = way, .guest = guest, .slot = slot, .gpa = gpa, .size = size,
		.shared_fd = -1,
	};

	if (way == NEW) {
		args.flags = GUEST_MEMFD_FLAG_MMAP;
		if (shared)
			args.flags |= GUEST_MEMFD_FLAG_INIT_SHARED;
	} else {
		memory->shared_fd = memfd_create("shared", MFD_CLOEXEC);
		if (memory->shared_fd < 0 || ftruncate(memory->shared_fd, size))
			die("memfd of %llu bytes", (unsigned long long)size);
	}
	memory->fd = ioctl(guest->fd, KVM_CREATE_GUEST_MEMFD, &args);
	if (memory->fd < 0 && errno == EINVAL && way == NEW)
		die_unsupported("this kernel has no in-place conversion: gmem probe says what it has");
	if (memory->fd < 0)
		die("guest_memfd of %llu bytes", (unsigned long long)size);

	backing = way == NEW ? memory->fd : memory->shared_fd;
	memory->host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, backing, 0);
	if (memory->host == MAP_FAILED)
		die("mmap of %llu bytes", (unsigned long long)size);
	if (slot != NO_SLOT)
		memory_bind(memory);
	if (way != NEW && !shared)
		memory_convert(memory, 0, size, true, 0);
}

void memory_destroy(struct memory *memory)
{
	if (memory->slot != NO_SLOT)
		memory_unbind(memory);
	if (memory->way != NEW) {
		/* The VM's attributes outlive the slot. */
		memory_convert(memory, 0, memory->size, false, 0);
		close(memory->shared_fd);
	}
	munmap(memory->host, memory->size);
	close(memory->fd);
}

static void punch(int fd, uint64_t offset, uint64_t size)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size))
		die("punching a hole");
}

static int in_place(struct memory *memory, uint64_t offset, uint64_t size,
		    bool to_private, uint64_t policy)
{
	struct kvm_memory_attributes2 attrs = {
		.offset = offset,
		.size = size,
		.attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
		.flags = policy,
	};

	return ioctl(memory->fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs) ? errno : 0;
}

int memory_try_convert(struct memory *memory, uint64_t offset, uint64_t size,
		       bool to_private, uint64_t policy)
{
	struct kvm_memory_attributes attrs = {
		.address = memory->gpa + offset,
		.size = size,
		.attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	if (memory->way == NEW)
		return in_place(memory, offset, size, to_private, policy);

	if (ioctl(memory->guest->fd, KVM_SET_MEMORY_ATTRIBUTES, &attrs))
		return errno;
	if (memory->way == OLD_KEEP)
		return 0;
	if (!to_private)
		punch(memory->fd, offset, size);
	else if (madvise(memory->host + offset, size, MADV_REMOVE))
		die("MADV_REMOVE");

	return 0;
}

void memory_convert(struct memory *memory, uint64_t offset, uint64_t size,
		    bool to_private, uint64_t policy)
{
	errno = memory_try_convert(memory, offset, size, to_private, policy);
	if (errno)
		die("conversion of %llu bytes to %s, %s", (unsigned long long)size,
		    to_private ? "private" : "shared", way_names[memory->way]);
}

void memory_reset(struct memory *memory, uint64_t size, bool is_private)
{
	punch(memory->fd, 0, memory->size);
	if (memory->way != NEW)
		punch(memory->shared_fd, 0, memory->size);
	memory_convert(memory, 0, size, is_private,
		       KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO);
}

void memory_host_touch(struct memory *memory, uint64_t offset, uint64_t size)
{
	volatile uint8_t *bytes = memory->host + offset;
	uint64_t i;

	for (i = 0; i < size; i += BENCH_PAGE)
		bytes[i]++;
}

void memory_guest_touch(struct memory *memory, uint64_t offset, uint64_t size)
{
	guest_touch(memory->guest, 0, memory->gpa + offset, size);
}
