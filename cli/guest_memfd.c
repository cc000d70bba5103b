// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd.h"
#include "guest_memfd.h"
#include "kvm_abi.h"
#include "proc.h"

size_t guest_memfd_slots(pid_t pid, int fd, struct guest_memfd_slot **slots)
{
	struct guest_memfd_slot slot;
	char path[64], line[256];
	size_t nr = 0;
	FILE *f;

	*slots = NULL;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "gmem-slot: %d gpa %" SCNi64 " size %" SCNi64 " offset %" SCNi64, &slot.id,
			   (int64_t *)&slot.gpa, (int64_t *)&slot.size, (int64_t *)&slot.offset) != 4)
			continue;
		*slots = reallocarray(*slots, nr + 1, sizeof(slot));
		if (!*slots)
			die("%zu slots", nr + 1);
		(*slots)[nr++] = slot;
	}
	if (f)
		fclose(f);

	return nr;
}

const struct guest_memfd_slot *guest_memfd_slot(const struct guest_memfd_slot *slots, size_t nr,
						uint64_t offset)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		if (offset >= slots[i].offset && offset - slots[i].offset < slots[i].size)
			return &slots[i];
	}

	return NULL;
}

int guest_memfd_copy(pid_t pid, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	int copy, r;

	if (pidfd < 0)
		return -errno;

	copy = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	r = copy < 0 ? -errno : copy;
	close(pidfd);

	return r;
}

int guest_memfd_range(int copy, uint64_t offset, uint64_t *end, bool *is_private)
{
	struct kvm_memory_attributes2_range range = { .offset = offset };

	if (ioctl(copy, KVM_GET_MEMORY_ATTRIBUTES2, &range))
		return -errno;

	*end = offset + range.size;
	*is_private = range.attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;
	return 0;
}

struct wanted {
	ino_t ino;
	int fd;
};

static bool is_wanted(const struct proc_fd *fd, void *arg)
{
	struct wanted *wanted = arg;
	struct proc_file file;

	if (!proc_is_guest_memfd(fd->pid, fd->fd, &file) || file.ino != wanted->ino)
		return false;

	wanted->fd = fd->fd;
	return true;
}

int guest_memfd_find(pid_t pid, ino_t ino)
{
	struct wanted wanted = { .ino = ino, .fd = -1 };

	proc_each_fd(pid, is_wanted, &wanted);
	return wanted.fd;
}
