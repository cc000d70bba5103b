// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A sample for programs.  Unknown values are null. */
#include <inttypes.h>
#include <math.h>

#include "text.h"
#include "vms.h"

static void print_sizes(FILE *to, const struct vms_sizes *sizes)
{
	fprintf(to, "\"size\": %" PRIu64 ", \"private\": %" PRIu64 ", \"shared\": %" PRIu64
		", \"allocated\": %" PRIu64 ", \"tracking\": %" PRIu64,
		sizes->size, sizes->private, sizes->shared, sizes->allocated, sizes->tracking);
}

static void print_file(FILE *to, const struct vms_file *file)
{
	fprintf(to, "{ \"ino\": %ju, \"pid\": %d, \"fd\": %d, \"descriptors\": %u, \"flags\": %" PRIu64
		", \"in_place\": %s, ", (uintmax_t)file->id.ino, file->pid, file->fd, file->nr_fds,
		file->flags, file->in_place ? "true" : "false");
	print_sizes(to, &file->sizes);
	fputs(", ", to);
	guest_memfd_json_slots(to, &file->slots);
	fputs(" }", to);
}

static void print_counters(FILE *to, const struct vm_stats *stats)
{
	int i;

	if (!stats) {
		fputs("\"vms\": null, \"counters\": null", to);
		return;
	}
	fprintf(to, "\"vms\": %u, \"counters\": ", stats->nr_vms);
	for (i = 0; i < NR_VM_COUNTERS; i++)
		fprintf(to, "%s\"%s\": %" PRIu64, i ? ", " : "{ ", vm_counter_names[i],
			stats->counters[i]);
	fputs(" }", to);
}

static void print_rates(FILE *to, const struct vms *now, const struct vms *before,
			const struct vms_vm *vm)
{
	double rate;
	int i;

	fputs(", \"rates\": ", to);
	/* All are known or none, unless a single counter went back. */
	if (isnan(vms_rate_refused(now, before, vm))) {
		fputs("null", to);
		return;
	}
	for (i = 0; i < NR_VM_COUNTERS; i++) {
		rate = vms_rate(now, before, vm, i);
		fprintf(to, "%s\"%s\": ", i ? ", " : "{ ", vm_counter_names[i]);
		if (isnan(rate))
			fputs("null", to);
		else
			fprintf(to, "%.3f", rate);
	}
	fputs(" }", to);
}

static void print_vm(FILE *to, const struct vms *now, const struct vms *before,
		     const struct vms_vm *vm)
{
	size_t i;

	fprintf(to, "{ \"pid\": %d, \"name\": ", vm->pid);
	text_json(to, vm->name);
	fputs(", ", to);
	print_sizes(to, &vm->sizes);
	fputs(", ", to);
	print_counters(to, vm->stats);
	if (before)
		print_rates(to, now, before, vm);
	fputs(", \"files\": [", to);
	for (i = 0; i < vm->nr_files; i++) {
		fputs(i ? ", " : "", to);
		print_file(to, &vm->files[i]);
	}
	fputs("] }", to);
}

void vms_json(FILE *to, const struct vms *now, const struct vms *before)
{
	size_t i;

	fprintf(to, "{ \"time\": %.3f, ", now->time);
	if (before)
		fprintf(to, "\"interval\": %.3f, ", now->monotonic - before->monotonic);
	fprintf(to, "\"unseen\": %u, \"gone\": %u, \"without_statistics\": %zu, \"vms\": [", now->unseen,
		now->gone, now->nr_without_stats);
	for (i = 0; i < now->nr_vms; i++) {
		fputs(i ? ", " : "", to);
		print_vm(to, now, before, &now->vms[i]);
	}
	fputs("] }\n", to);
}
