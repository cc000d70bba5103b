// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * There are two ways to the same counters.  Binary statistics need a copy of the VM's
 * descriptor, and KVM refuses every ioctl on it from an address space other than
 * the creator's (EIO), unless KVM_GET_STATS_FD is exempt. debugfs is for root only.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "grow.h"
#include "proc.h"
#include "vm_stats.h"

#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY	1027
#endif

#define DEBUGFS		"/sys/kernel/debug"
#define PREFIX		"gmem_"

#define NAME(counter, name)	[counter] = #name,
const char *const vm_counter_names[NR_VM_COUNTERS] = { VM_COUNTERS(NAME) };

static void add(struct vm_stats_list *list, const struct vm_stats *stats)
{
	list->entries = grow(list->entries, list->nr, sizeof(*stats));
	list->entries[list->nr++] = *stats;
}

/* ---- Binary statistics --------------------------------------------------------- */

static bool read_at(int fd, void *to, size_t size, uint64_t offset)
{
	return pread(fd, to, size, offset) == (ssize_t)size;
}

static void read_counter(int fd, const char *name, uint64_t offset, struct vm_stats *stats,
			 unsigned int *nr_found)
{
	int i;

	if (strncmp(name, PREFIX, strlen(PREFIX)))
		return;
	for (i = 0; i < NR_VM_COUNTERS; i++) {
		if (!strcmp(name + strlen(PREFIX), vm_counter_names[i]))
			*nr_found += read_at(fd, &stats->counters[i], sizeof(uint64_t), offset);
	}
}

/* True if this KVM counts conversions. */
static bool read_binary(int fd, struct vm_stats *stats)
{
	struct kvm_stats_header header;
	unsigned int nr_found = 0, i;
	struct kvm_stats_desc *desc;
	char id[64] = "", *descs;
	size_t size, id_size;

	if (!read_at(fd, &header, sizeof(header), 0))
		return false;
	id_size = header.name_size < sizeof(id) ? header.name_size : sizeof(id) - 1;
	if (!read_at(fd, id, id_size, header.id_offset) ||
	    sscanf(id, "kvm-%d", &stats->creator) != 1)
		return false;

	size = sizeof(*desc) + header.name_size;
	descs = calloc(header.num_desc, size);
	if (descs && read_at(fd, descs, header.num_desc * size, header.desc_offset)) {
		for (i = 0; i < header.num_desc; i++) {
			desc = (void *)(descs + i * size);
			read_counter(fd, desc->name, header.data_offset + desc->offset, stats,
				     &nr_found);
		}
	}
	free(descs);

	return nr_found > 0;
}

void vm_stats_add_fd(struct vm_stats_list *list, pid_t pid, int fd)
{
	struct vm_stats stats = { .nr_vms = 1, .pid = pid, .fd = fd };
	int vm, file;

	/* The VM cannot end while there is a copy, so close it before looking further. */
	vm = proc_copy_fd(pid, fd);
	if (vm < 0)
		return;
	file = ioctl(vm, KVM_GET_STATS_FD, NULL);
	if (file >= 0 && read_binary(file, &stats))
		add(list, &stats);
	if (file >= 0)
		close(file);
	close(vm);
}

/* ---- debugfs ------------------------------------------------------------------- */

/* @name is a directory: the creator's pid, "-", and its descriptor of the VM. */
static bool read_debugfs(const char *name, struct vm_stats *stats)
{
	unsigned int nr_found = 0;
	char path[512], rest;
	FILE *f;
	int i;

	if (sscanf(name, "%d-%d%c", &stats->creator, &stats->fd, &rest) != 2)
		return false;

	for (i = 0; i < NR_VM_COUNTERS; i++) {
		snprintf(path, sizeof(path), DEBUGFS "/kvm/%s/" PREFIX "%s", name, vm_counter_names[i]);
		f = fopen(path, "r");
		/* The VM is gone, or an older KVM has no such counters. */
		if (!f)
			break;
		nr_found += fscanf(f, "%" SCNu64, &stats->counters[i]) == 1;
		fclose(f);
	}

	return nr_found > 0;
}

const char *vm_stats_add_debugfs(struct vm_stats_list *list)
{
	DIR *dir = opendir(DEBUGFS "/kvm");
	struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? "mount -t debugfs debugfs " DEBUGFS "; as root" : "run it as root";

	while ((entry = readdir(dir))) {
		struct vm_stats stats = { .nr_vms = 1 };

		if (read_debugfs(entry->d_name, &stats))
			add(list, &stats);
	}
	closedir(dir);

	return NULL;
}

/* ---- The list ------------------------------------------------------------------ */

static int by_creator(const void *a, const void *b)
{
	const struct vm_stats *one = a, *other = b;

	return (one->creator > other->creator) - (one->creator < other->creator);
}

/* Two descriptors of the same VM? */
static bool is_same_vm(const struct vm_stats *a, const struct vm_stats *b)
{
	bool same = false;
	int one, other;

	/* From debugfs, which has each VM once. */
	if (!a->pid || !b->pid)
		return false;

	one = proc_copy_fd(a->pid, a->fd);
	other = proc_copy_fd(b->pid, b->fd);
	if (one >= 0 && other >= 0)
		same = fcntl(one, F_DUPFD_QUERY, other) == 1;
	if (one >= 0)
		close(one);
	if (other >= 0)
		close(other);

	return same;
}

/* Is the VM of @entry among those before it that have the same creator? */
static bool is_known(const struct vm_stats *first, const struct vm_stats *entry)
{
	for (; first < entry; first++) {
		if (is_same_vm(first, entry))
			return true;
	}

	return false;
}

void vm_stats_unify(struct vm_stats_list *list)
{
	struct vm_stats *first, *entry, *end = list->entries + list->nr;
	size_t nr = 0;
	int i;

	if (list->nr)
		qsort(list->entries, list->nr, sizeof(*list->entries), by_creator);

	for (first = list->entries; first < end; first = entry) {
		struct vm_stats sum = *first;

		for (entry = first + 1; entry < end && entry->creator == first->creator; entry++) {
			if (is_known(first, entry))
				continue;
			sum.nr_vms++;
			for (i = 0; i < NR_VM_COUNTERS; i++)
				sum.counters[i] += entry->counters[i];
		}
		/* This overwrites only entries that the loop has passed. */
		list->entries[nr++] = sum;
	}
	list->nr = nr;
}

const struct vm_stats *vm_stats_find(const struct vm_stats_list *list, pid_t creator)
{
	const struct vm_stats key = { .creator = creator };

	return list->nr ? bsearch(&key, list->entries, list->nr, sizeof(key), by_creator) : NULL;
}

uint64_t vm_stats_refused(const uint64_t *counters)
{
	return counters[REFUSED_HELD] + counters[REFUSED_POISON] + counters[REFUSED_MEMORY] +
	       counters[REFUSED_POLICY] + counters[REFUSED_CONSENT];
}

void vm_stats_free(struct vm_stats_list *list)
{
	free(list->entries);
	*list = (struct vm_stats_list){};
}
