// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "human.h"
#include "text.h"
#include "vms_table.h"

struct row {
	const struct vms_vm *vm;
	/* NAN if not known. */
	double to_private;
	double to_shared;
	double refused;
};

struct vms_table_order {
	const char *name;
	int (*compare)(const void *a, const void *b);
};

/* ---- Orders -------------------------------------------------------------------- */

static int by_pid(const void *a, const void *b)
{
	const struct row *one = a, *other = b;

	return (one->vm->pid > other->vm->pid) - (one->vm->pid < other->vm->pid);
}

static int by_name(const void *a, const void *b)
{
	const struct row *one = a, *other = b;
	int r = strcmp(one->vm->name, other->vm->name);

	return r ? r : by_pid(a, b);
}

/* Larger numbers first, unknown ones last, equal ones by pid. */
#define BY_NUMBER(name, member)							\
	static int by_##name(const void *a, const void *b)			\
	{									\
		double one = ((const struct row *)a)->member;			\
		double other = ((const struct row *)b)->member;			\
										\
		if (isnan(one) || isnan(other) || one == other)			\
			return isnan(one) == isnan(other) ? by_pid(a, b) :	\
			       isnan(one) ? 1 : -1;				\
		return one < other ? 1 : -1;					\
	}

BY_NUMBER(size, vm->sizes.size)
BY_NUMBER(private, vm->sizes.private)
BY_NUMBER(shared, vm->sizes.shared)
BY_NUMBER(allocated, vm->sizes.allocated)
BY_NUMBER(tracking, vm->sizes.tracking)
BY_NUMBER(to_private, to_private)
BY_NUMBER(to_shared, to_shared)
BY_NUMBER(refused, refused)

static const struct vms_table_order orders[] = {
	{ "pid", by_pid },
	{ "name", by_name },
	{ "size", by_size },
	{ "private", by_private },
	{ "shared", by_shared },
	{ "allocated", by_allocated },
	{ "tracking", by_tracking },
	{ "to-private", by_to_private },
	{ "to-shared", by_to_shared },
	{ "refused", by_refused },
};

#define NR_ORDERS (sizeof(orders) / sizeof(orders[0]))

const struct vms_table_order *vms_table_order(const char *name)
{
	size_t i;

	for (i = 0; i < NR_ORDERS; i++) {
		if (!strcmp(name, orders[i].name))
			return &orders[i];
	}

	return NULL;
}

const char *vms_table_orders(void)
{
	static char names[128];
	size_t i;

	names[0] = '\0';
	for (i = 0; i < NR_ORDERS; i++) {
		strcat(names, i ? ", " : "");
		strcat(names, orders[i].name);
	}

	return names;
}

/* ---- Lines --------------------------------------------------------------------- */

static void print_sizes(FILE *to, const struct vms_sizes *sizes)
{
	fprintf(to, " %6s %7s %6s %6s %6s", human_size(sizes->size), human_size(sizes->private),
		human_size(sizes->shared), human_size(sizes->allocated), human_size(sizes->tracking));
}

static void print_rate(FILE *to, double rate)
{
	if (isnan(rate))
		fprintf(to, " %6s", "-");
	else if (rate < 1e6)
		fprintf(to, rate < 1000 ? " %6.1f" : " %6.0f", rate);
	else
		fprintf(to, " %5.0fk", rate / 1000);
}

static void print_total(FILE *to, double total)
{
	if (isnan(total))
		fprintf(to, " %10s", "-");
	else
		fprintf(to, " %10.0f", total);
}

static struct row make_row(const struct vms *now, const struct vms *before,
			   const struct vms_vm *vm)
{
	const struct vm_stats *stats = vm->stats;
	struct row row = { vm, NAN, NAN, NAN };

	if (before) {
		row.to_private = vms_rate(now, before, vm, CONVERSIONS_TO_PRIVATE);
		row.to_shared = vms_rate(now, before, vm, CONVERSIONS_TO_SHARED);
		row.refused = vms_rate_refused(now, before, vm);
	} else if (stats) {
		row.to_private = stats->counters[CONVERSIONS_TO_PRIVATE];
		row.to_shared = stats->counters[CONVERSIONS_TO_SHARED];
		row.refused = vm_stats_refused(stats->counters);
	}

	return row;
}

static void print_files(FILE *to, const struct vms_vm *vm)
{
	const struct vms_file *file;
	char name[32];

	for (file = vm->files; file < vm->files + vm->nr_files; file++) {
		snprintf(name, sizeof(name), "%d:%d", file->pid, file->fd);
		fprintf(to, "%7s  %-14s", "", name);
		print_sizes(to, &file->sizes);
		putc('\n', to);
	}
}

void vms_table(FILE *to, const struct vms *now, const struct vms *before, bool files,
	       const struct vms_table_order *order)
{
	struct row *rows = calloc(now->nr_vms + 1, sizeof(*rows));
	size_t i;

	if (!rows)
		die("no memory for %zu VMs", now->nr_vms);
	for (i = 0; i < now->nr_vms; i++)
		rows[i] = make_row(now, before, &now->vms[i]);
	qsort(rows, now->nr_vms, sizeof(*rows), order->compare);

	/* The table with rates is 80 columns wide. */
	fprintf(to, "%7s %-15s %6s %7s %6s %6s %6s", "PID", "NAME", "SIZE", "PRIVATE",
		"SHARED", "ALLOC", "TRACK");
	fprintf(to, before ? " %6s %6s %6s\n" : " %10s %10s %10s\n",
		before ? "PRIV/s" : "TO PRIVATE", before ? "SHAR/s" : "TO SHARED",
		before ? "REF/s" : "REFUSED");
	for (i = 0; i < now->nr_vms; i++) {
		void (*print)(FILE *file, double number) = before ? print_rate : print_total;

		fprintf(to, "%7d %-15s", rows[i].vm->pid, text_plain(rows[i].vm->name));
		print_sizes(to, &rows[i].vm->sizes);
		print(to, rows[i].to_private);
		print(to, rows[i].to_shared);
		print(to, rows[i].refused);
		putc('\n', to);
		if (files)
			print_files(to, rows[i].vm);
	}
	free(rows);
}

void vms_summary(FILE *to, const struct vms *now, const struct vms *before)
{
	fprintf(to, "VMs with guest_memfd: %zu, files: %zu", now->nr_vms, now->nr_files);
	if (before && before != now)
		fprintf(to, "; rates over %.1f s", now->monotonic - before->monotonic);
	putc('\n', to);
	if (now->unseen)
		fprintf(to, "processes that could not be examined: %u; run it as root\n", now->unseen);
	if (now->nr_without_stats)
		fprintf(to, "VMs without statistics: %zu%s%s%s\n", now->nr_without_stats,
			now->stats_hint ? " (" : "", now->stats_hint ? now->stats_hint : "",
			now->stats_hint ? ")" : "");
}
