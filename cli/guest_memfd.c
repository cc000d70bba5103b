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
	/*
	 * The name alone proves nothing, but statfs() on any other file may wait for a dead
	 * server.
	 */
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

bool guest_memfd_offset(const struct guest_memfd_slot *slot, uint64_t gpa, uint64_t *offset)
{
	if (gpa < slot->gpa || gpa - slot->gpa >= slot->size)
		return false;

	*offset = slot->offset + (gpa - slot->gpa);
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

/* Each file once, though a process may have several descriptors of it. */
static bool see_fd(const struct proc_fd *fd, void *arg)
{
	struct guest_memfd found = { .fd = fd->fd };
	struct guest_memfds *list = arg;
	size_t i;

	if (!guest_memfd_is(fd, &found.file))
		return false;
	for (i = 0; i < list->nr; i++) {
		if (list->at[i].file.ino == found.file.ino)
			return false;
	}

	list->at = grow(list->at, list->nr, sizeof(found));
	list->at[list->nr++] = found;
	return false;
}

static const char *list_one(pid_t pid, int fd, struct guest_memfds *list)
{
	struct guest_memfd found = { .fd = fd };

	if (proc_is_guest_memfd(pid, fd, &found.file)) {
		list->at = grow(NULL, 0, sizeof(found));
		list->at[list->nr++] = found;
		return NULL;
	}

	if (errno == EACCES || errno == EPERM)
		return "cannot look at descriptor %d of process %d";
	if (errno != ENOENT && errno != ESRCH) {
		errno = 0;
		return "descriptor %d of process %d is not a guest_memfd";
	}
	errno = 0;
	return "there is no descriptor %d of process %d";
}

const char *guest_memfd_list(pid_t pid, int fd, struct guest_memfds *list)
{
	static char text[96];
	const char *problem;
	bool unseen;

	*list = (struct guest_memfds){};
	if (!proc_exists(pid)) {
		snprintf(text, sizeof(text), "there is no process %d", pid);
		errno = 0;
		return text;
	}

	if (fd >= 0) {
		problem = list_one(pid, fd, list);
		if (problem)
			snprintf(text, sizeof(text), problem, fd, pid);
		return problem ? text : NULL;
	}

	unseen = proc_each_fd(pid, see_fd, list);
	if (list->nr)
		return NULL;
	snprintf(text, sizeof(text), unseen ? "cannot examine process %d" :
		 "process %d has no guest_memfd; gmem top lists the processes that have one", pid);
	errno = unseen ? EACCES : 0;
	return text;
}

int guest_memfd_find(pid_t pid, ino_t ino)
{
	struct guest_memfds list = {};
	int fd = -1;
	size_t i;

	proc_each_fd(pid, see_fd, &list);
	for (i = 0; i < list.nr; i++) {
		if (list.at[i].file.ino == ino)
			fd = list.at[i].fd;
	}
	free(list.at);

	return fd;
}
