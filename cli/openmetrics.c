// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The format requires all samples of a metric together, so each metric walks the VMs.
 * A counter that cannot be read is left out: 0 would look like a reset.
 */
#include <inttypes.h>
#include <stddef.h>

#include "openmetrics.h"
#include "text.h"

/* Of each file. */
static const struct {
	const char *name;
	const char *help;
	size_t offset;
} sizes[] = {
	{ "gmem_size_bytes", "Size of the guest_memfd: private and shared, whether it has memory or not.",
	  offsetof(struct vms_sizes, size) },
	{ "gmem_private_bytes", "How much of the size is the guest's alone: a state, not memory.",
	  offsetof(struct vms_sizes, private) },
	{ "gmem_shared_bytes", "How much of the size guest and host share: a state, not memory.",
	  offsetof(struct vms_sizes, shared) },
	{ "gmem_allocated_bytes", "Memory that the file has, private and shared.",
	  offsetof(struct vms_sizes, allocated) },
	{ "gmem_tracking_bytes", "Memory of the kernel that tracks what is private, besides that.",
	  offsetof(struct vms_sizes, tracking) },
};

/* Of each VM; entries of one name are adjacent, and the first has the help. */
static const struct {
	const char *name;
	const char *help;
	const char *label;
	const char *value;
	enum vm_counter counter;
} counters[] = {
	{ "gmem_conversions_total", "Conversions that changed something.",
	  "direction", "to_private", CONVERSIONS_TO_PRIVATE },
	{ "gmem_conversions_total", NULL, "direction", "to_shared", CONVERSIONS_TO_SHARED },
	{ "gmem_converted_pages_total", "Pages that conversions changed.",
	  "direction", "to_private", PAGES_TO_PRIVATE },
	{ "gmem_converted_pages_total", NULL, "direction", "to_shared", PAGES_TO_SHARED },
	{ "gmem_refusals_total", "Conversions that were refused, by reason.",
	  "reason", "held", REFUSED_HELD },
	{ "gmem_refusals_total", NULL, "reason", "poison", REFUSED_POISON },
	{ "gmem_refusals_total", NULL, "reason", "memory", REFUSED_MEMORY },
	{ "gmem_refusals_total", NULL, "reason", "policy", REFUSED_POLICY },
	{ "gmem_refusals_total", NULL, "reason", "consent", REFUSED_CONSENT },
	{ "gmem_filled_pages_total",
	  "Pages that a fault has filled: new, or without contents after a conversion.",
	  NULL, NULL, PAGES_FILLED },
};

static void print_head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* The name and the common labels, without the closing brace. */
static void print_vm(FILE *to, const char *name, const struct vms_vm *vm)
{
	fprintf(to, "%s{pid=\"%d\",name=", name, vm->pid);
	text_label(to, vm->name);
}

static void print_sizes(FILE *to, const struct vms_vm *vm, const char *name, size_t offset)
{
	const struct vms_file *file;
	const char *sizes_of;

	for (file = vm->files; file < vm->files + vm->nr_files; file++) {
		sizes_of = (const char *)&file->sizes;
		print_vm(to, name, vm);
		fprintf(to, ",ino=\"%ju\"} %" PRIu64 "\n", (uintmax_t)file->id.ino,
			*(const uint64_t *)(sizes_of + offset));
	}
}

static void print_counter(FILE *to, const struct vms_vm *vm, size_t i)
{
	if (!vm->stats)
		return;
	print_vm(to, counters[i].name, vm);
	if (counters[i].label)
		fprintf(to, ",%s=\"%s\"", counters[i].label, counters[i].value);
	fprintf(to, "} %" PRIu64 "\n", vm->stats->counters[counters[i].counter]);
}

static void print_number(FILE *to, const char *name, uint64_t number, const char *help)
{
	print_head(to, name, "gauge", help);
	fprintf(to, "%s %" PRIu64 "\n", name, number);
}

void openmetrics(FILE *to, const struct vms *vms)
{
	const struct vms_vm *vm, *end = vms->vms + vms->nr_vms;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		print_head(to, sizes[i].name, "gauge", sizes[i].help);
		for (vm = vms->vms; vm < end; vm++)
			print_sizes(to, vm, sizes[i].name, sizes[i].offset);
	}
	for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		if (counters[i].help)
			print_head(to, counters[i].name, "counter", counters[i].help);
		for (vm = vms->vms; vm < end; vm++)
			print_counter(to, vm, i);
	}

	/* What is missing above. */
	print_number(to, "gmem_unseen_processes", vms->unseen,
		     "Processes that could not be examined, and whose VMs are missing.");
	print_number(to, "gmem_gone_files", vms->gone,
		     "guest_memfds that were closed while they were examined, and are missing.");
	print_number(to, "gmem_vms_without_statistics", vms->nr_without_stats,
		     "VMs whose conversions, refusals and filled pages are missing, for example without debugfs.");
	fputs("# EOF\n", to);
}
