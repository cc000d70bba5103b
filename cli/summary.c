// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <inttypes.h>
#include <string.h>

#include "human.h"
#include "kvm_abi.h"
#include "summary.h"

#define BAR_COLUMNS	40

static const char *const names[] = { "shared", "private" };

/* 0 means not measured, and is not counted. */
static void count(uint64_t *buckets, uint64_t value)
{
	if (value)
		buckets[63 - __builtin_clzll(value)]++;
}

void summary_add(struct summary *summary, const struct conversion *c)
{
	struct summary_direction *d =
		&summary->directions[!!(c->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE)];

	if (c->result) {
		d->nr_refused++;
		d->errors[-c->result & (SUMMARY_ERRORS - 1)]++;
		return;
	}

	d->nr += c->changed != 0;
	d->nr_unchanged += !c->changed;
	d->changed += c->changed;
	count(d->sizes, c->size);
	count(d->times, c->took_ns);
	count(d->locked, c->locked_ns);
}

static void print_histogram(const char *name, const uint64_t *buckets, const char *(*human)(uint64_t))
{
	uint64_t most = 0;
	int i, first = -1, last = -1;

	for (i = 0; i < SUMMARY_BUCKETS; i++) {
		if (!buckets[i])
			continue;
		if (first < 0)
			first = i;
		last = i;
		if (buckets[i] > most)
			most = buckets[i];
	}
	if (first < 0)
		return;

	printf("  %-23s%8s\n", name, "count");
	for (i = first; i <= last; i++) {
		int bar = (buckets[i] * BAR_COLUMNS + most - 1) / most;

		printf("  from 2^%-2d  %-12s%8" PRIu64 "%s%.*s\n", i, human(1ull << i), buckets[i],
		       bar ? "  " : "", bar, "########################################");
	}
}

static void print_direction(const char *name, const struct summary_direction *d)
{
	const char *separator = ": ";
	int i;

	printf("\nto %s: %" PRIu64 " conversions changed %s, %" PRIu64 " changed nothing, %" PRIu64 " refused",
	       name, d->nr, human_bytes(d->changed), d->nr_unchanged, d->nr_refused);
	for (i = 0; i < SUMMARY_ERRORS; i++) {
		if (!d->errors[i])
			continue;
		printf("%s%" PRIu64 " %s", separator, d->errors[i],
		       conversion_error(&(struct conversion){ .result = -i }));
		separator = ", ";
	}
	putchar('\n');
	print_histogram("size asked for", d->sizes, human_bytes);
	print_histogram("took", d->times, human_time);
	print_histogram("held the lock", d->locked, human_time);
}

/* [FROM, COUNT] for each bucket that has something. */
static void print_json_histogram(const char *name, const uint64_t *buckets)
{
	const char *separator = "";
	int i;

	printf(", \"%s\": [", name);
	for (i = 0; i < SUMMARY_BUCKETS; i++) {
		if (!buckets[i])
			continue;
		printf("%s{ \"from\": %llu, \"count\": %" PRIu64 " }", separator, 1ull << i, buckets[i]);
		separator = ", ";
	}
	putchar(']');
}

static void print_json_direction(const char *name, const struct summary_direction *d)
{
	const char *separator = "";
	int i;

	printf(", \"to_%s\": { \"conversions\": %" PRIu64 ", \"changed\": %" PRIu64
	       ", \"unchanged\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"errors\": {", name, d->nr,
	       d->changed, d->nr_unchanged, d->nr_refused);
	for (i = 0; i < SUMMARY_ERRORS; i++) {
		if (!d->errors[i])
			continue;
		printf("%s\"%s\": %" PRIu64, separator,
		       conversion_error(&(struct conversion){ .result = -i }), d->errors[i]);
		separator = ", ";
	}
	putchar('}');
	print_json_histogram("size", d->sizes);
	print_json_histogram("took_ns", d->times);
	print_json_histogram("locked_ns", d->locked);
	printf(" }");
}

void summary_print(const struct summary *summary, double seconds, bool json)
{
	int i;

	if (json)
		printf("{ \"seconds\": %.3f, \"lost\": %" PRIu64, seconds, summary->lost);
	else
		printf("\nin %.1f s, %" PRIu64 " events lost\n", seconds, summary->lost);
	for (i = 1; i >= 0; i--) {
		if (json)
			print_json_direction(names[i], &summary->directions[i]);
		else
			print_direction(names[i], &summary->directions[i]);
	}
	if (json)
		printf(" }\n");
}
