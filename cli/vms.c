// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Each descriptor is read once; sorting brings together what belongs together. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/kvm_gmem.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "grow.h"
#include "vms.h"

#define LACKING	"this kernel does not show what is private in a guest_memfd"

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* ---- Descriptors --------------------------------------------------------------- */

static void take_fdinfo(const char *key, const char *value, void *arg)
{
	uint64_t number = strtoull(value, NULL, 0);
	struct vms_file *file = arg;
	const struct {
		const char *key;
		uint64_t *to;
	} numbers[] = {
		{ "gmem-flags", &file->flags },
		{ "gmem-size", &file->sizes.size },
		{ "gmem-private", &file->sizes.private },
		{ "gmem-shared", &file->sizes.shared },
		{ "gmem-allocated", &file->sizes.allocated },
		{ "gmem-tracking", &file->sizes.tracking },
	};
	size_t i;

	if (!strcmp(key, "gmem-vm"))
		file->vm = number;
	if (!strcmp(key, "gmem-in-place"))
		file->in_place = number;
	guest_memfd_add_slot(&file->slots, key, value);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (!strcmp(key, numbers[i].key))
			*numbers[i].to = number;
	}
}

static bool see_fd(const struct proc_fd *fd, void *arg)
{
	struct vms_file file = { .pid = fd->pid, .fd = fd->fd, .nr_fds = 1 };
	struct vms *vms = arg;

	if (!strcmp(fd->target, "anon_inode:kvm-vm"))
		vm_stats_add_fd(&vms->stats, fd->pid, fd->fd);
	if (!guest_memfd_is(fd, &file.id))
		return false;

	if (!proc_each_fdinfo(fd->pid, fd->fd, take_fdinfo, &file)) {
		vms->gone++;
		return false;
	}
	if (!file.sizes.size)
		die_unsupported(LACKING);
	vms->files = grow(vms->files, vms->nr_files, sizeof(file));
	vms->files[vms->nr_files++] = file;

	return false;
}

/* ---- What belongs together ----------------------------------------------------- */

#define COMPARE(a, b) do { if ((a) != (b)) return (a) < (b) ? -1 : 1; } while (0)

/* By VM, then by file, then the creator's own descriptors first. */
static int by_vm_and_file(const void *a, const void *b)
{
	const struct vms_file *one = a, *other = b;

	COMPARE(one->vm, other->vm);
	COMPARE(one->id.dev, other->id.dev);
	COMPARE(one->id.ino, other->id.ino);
	COMPARE(one->pid != one->vm, other->pid != other->vm);
	COMPARE(one->pid, other->pid);
	COMPARE(one->fd, other->fd);
	return 0;
}

static bool is_same_file(const struct vms_file *a, const struct vms_file *b)
{
	return a->vm == b->vm && a->id.dev == b->id.dev && a->id.ino == b->id.ino;
}

static void unify_files(struct vms *vms)
{
	struct vms_file *file;
	size_t i, nr = 0;

	if (vms->nr_files)
		qsort(vms->files, vms->nr_files, sizeof(*vms->files), by_vm_and_file);

	for (i = 0; i < vms->nr_files; i++) {
		file = &vms->files[i];
		if (nr && is_same_file(&vms->files[nr - 1], file)) {
			vms->files[nr - 1].nr_fds++;
			free(file->slots.at);
		} else {
			vms->files[nr++] = *file;
		}
	}
	vms->nr_files = nr;
}

/* Name a process that has a file if the creator has none: a thread, or gone. */
static void set_name(struct vms_vm *vm)
{
	pid_t pid = vm->files[0].pid;
	size_t i;

	for (i = 0; i < vm->nr_files; i++) {
		if (vm->files[i].pid == vm->pid)
			pid = vm->pid;
	}
	snprintf(vm->name, sizeof(vm->name), "%s", proc_name(pid));
}

static void add_sizes(struct vms_sizes *sum, const struct vms_sizes *sizes)
{
	sum->size += sizes->size;
	sum->private += sizes->private;
	sum->shared += sizes->shared;
	sum->allocated += sizes->allocated;
	sum->tracking += sizes->tracking;
}

static void group_by_vm(struct vms *vms)
{
	size_t i, first;

	for (first = 0; first < vms->nr_files; first = i) {
		struct vms_vm vm = { .pid = vms->files[first].vm, .files = &vms->files[first] };

		for (i = first; i < vms->nr_files && vms->files[i].vm == vm.pid; i++)
			add_sizes(&vm.sizes, &vms->files[i].sizes);
		vm.nr_files = i - first;
		vm.stats = vm_stats_find(&vms->stats, vm.pid);
		vms->nr_without_stats += !vm.stats;
		set_name(&vm);
		vms->vms = grow(vms->vms, vms->nr_vms, sizeof(vm));
		vms->vms[vms->nr_vms++] = vm;
	}
}

/* ---- All of it ----------------------------------------------------------------- */

/* Without a file to examine, ask KVM; false if we may not open it. */
static bool is_lacking(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	bool lacking;

	if (kvm < 0)
		return false;
	lacking = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_GET_MEMORY_ATTRIBUTES2) <= 0;
	close(kvm);

	return lacking;
}

void vms_read(struct vms *vms)
{
	*vms = (struct vms){};
	vms->unseen = proc_each_fd(0, see_fd, vms);
	if (!vms->nr_files && !vms->gone && is_lacking())
		die_unsupported(LACKING);

	/* When the counters are read, as rates are of them. */
	vms->time = seconds(CLOCK_REALTIME);
	vms->monotonic = seconds(CLOCK_MONOTONIC);
	if (!vms->stats.nr)
		vms->stats_hint = vm_stats_add_debugfs(&vms->stats);
	vm_stats_unify(&vms->stats);
	unify_files(vms);
	group_by_vm(vms);
}

void vms_free(struct vms *vms)
{
	size_t i;

	for (i = 0; i < vms->nr_files; i++)
		free(vms->files[i].slots.at);
	free(vms->files);
	free(vms->vms);
	vm_stats_free(&vms->stats);
	*vms = (struct vms){};
}

static int by_pid(const void *a, const void *b)
{
	const struct vms_vm *one = a, *other = b;

	COMPARE(one->pid, other->pid);
	return 0;
}

static const struct vm_stats *stats_before(const struct vms *before, const struct vms_vm *vm)
{
	const struct vms_vm *then = NULL;

	if (before && before->nr_vms)
		then = bsearch(vm, before->vms, before->nr_vms, sizeof(*vm), by_pid);
	return then ? then->stats : NULL;
}

static double rate(const struct vms *now, const struct vms *before, uint64_t count,
		   uint64_t count_before)
{
	if (count < count_before)
		return NAN;
	return (count - count_before) / (now->monotonic - before->monotonic);
}

double vms_rate(const struct vms *now, const struct vms *before, const struct vms_vm *vm,
		enum vm_counter counter)
{
	const struct vm_stats *then = stats_before(before, vm);

	if (!vm->stats || !then)
		return NAN;
	return rate(now, before, vm->stats->counters[counter], then->counters[counter]);
}

double vms_rate_refused(const struct vms *now, const struct vms *before,
			const struct vms_vm *vm)
{
	const struct vm_stats *then = stats_before(before, vm);

	if (!vm->stats || !then)
		return NAN;
	return rate(now, before, vm_stats_refused(vm->stats->counters),
		    vm_stats_refused(then->counters));
}
