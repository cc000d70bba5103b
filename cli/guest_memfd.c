// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#include "grow.h"
#include "guest_memfd.h"
#include "kvm_abi.h"

bool guest_memfd_is(const struct proc_fd *fd, struct proc_file *file)
{
	/* The name proves nothing, but statfs() on any file may wait for a dead server. */
	return strstr(fd->target, "[kvm-gmem]") && proc_is_guest_memfd(fd->pid, fd->fd, file);
}

void guest_memfd_add_slot(struct guest_memfd_slots *slots, const char *key, const char *value)
{
	struct guest_memfd_slot slot;

	if (strcmp(key, "gmem-slot") ||
	    sscanf(value, "%d gpa 0x%" SCNx64 " size 0x%" SCNx64 " offset 0x%" SCNx64, &slot.number,
		   &slot.gpa, &slot.size, &slot.offset) != 4)
		return;
	slots->at = grow(slots->at, slots->nr, sizeof(slot));
	slots->at[slots->nr++] = slot;
}

static void take_slot(const char *key, const char *value, void *arg)
{
	guest_memfd_add_slot(arg, key, value);
}

void guest_memfd_read_slots(pid_t pid, int fd, struct guest_memfd_slots *slots)
{
	*slots = (struct guest_memfd_slots){};
	proc_each_fdinfo(pid, fd, take_slot, slots);
}

bool guest_memfd_gpa(const struct guest_memfd_slot *slot, uint64_t offset, uint64_t *gpa)
{
	if (offset < slot->offset || offset - slot->offset >= slot->size)
		return false;

	*gpa = slot->gpa + (offset - slot->offset);
	return true;
}

void guest_memfd_json_slots(FILE *to, const struct guest_memfd_slots *slots)
{
	const struct guest_memfd_slot *slot, *end = slots->at + slots->nr;

	fputs("\"slots\": [", to);
	for (slot = slots->at; slot < end; slot++)
		fprintf(to, "%s{ \"slot\": %d, \"gpa\": %" PRIu64 ", \"size\": %" PRIu64 ", \"offset\": %" PRIu64
			" }", slot > slots->at ? ", " : "", slot->number, slot->gpa, slot->size, slot->offset);
	putc(']', to);
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

	if (!guest_memfd_is(fd, &file) || file.ino != wanted->ino)
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
