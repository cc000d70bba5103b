// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Samples: kept as they arrive, printed raw, summarised on request. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct sample {
	struct key key;
	size_t round;
	double value;
};

static struct sample *samples;
static size_t nr_samples, room;

static bool same(const struct key *a, const struct key *b)
{
	return a->bytes == b->bytes && a->count == b->count &&
	       !strcmp(a->measure, b->measure) && !strcmp(a->way, b->way) &&
	       !strcmp(a->direction, b->direction) && !strcmp(a->policy, b->policy) &&
	       !strcmp(a->touched, b->touched);
}

size_t record_nr(const struct key *key)
{
	size_t i, nr = 0;

	for (i = 0; i < nr_samples; i++)
		nr += same(&samples[i].key, key);

	return nr;
}

void record(const struct key *key, double value)
{
	size_t round = record_nr(key);

	if (nr_samples == room) {
		room = room ? 2 * room : 1024;
		samples = realloc(samples, room * sizeof(samples[0]));
		if (!samples)
			die("no memory for samples");
	}
	samples[nr_samples++] = (struct sample){ *key, round, value };
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double record_quantile(const struct key *key, double q)
{
	double *values = malloc((nr_samples + 1) * sizeof(values[0]));
	double result = NAN;
	size_t i, nr = 0;

	if (!values)
		die("no memory for a median");
	for (i = 0; i < nr_samples; i++) {
		if (same(&samples[i].key, key))
			values[nr++] = samples[i].value;
	}
	if (nr) {
		double at = q * (nr - 1);
		size_t below = at;

		qsort(values, nr, sizeof(values[0]), by_value);
		result = values[below];
		if (below + 1 < nr)
			result += (at - below) * (values[below + 1] - values[below]);
	}
	free(values);

	return result;
}

void record_csv(FILE *to)
{
	size_t i;

	fputs("measure,way,direction,policy,touched,bytes,count,accel,unit,round,value\n", to);
	for (i = 0; i < nr_samples; i++) {
		const struct sample *s = &samples[i];

		fprintf(to, "%s,%s,%s,%s,%s,%llu,%u,%s,%s,%zu,%.10g\n", s->key.measure,
			s->key.way, s->key.direction, s->key.policy, s->key.touched,
			(unsigned long long)s->key.bytes, s->key.count, clock_accel(),
			s->key.unit, s->round, s->value);
	}
}

void record_json(FILE *to)
{
	const char *separator = "";
	size_t i;

	fprintf(to, "{\"accel\": \"%s\", \"results\": [", clock_accel());
	for (i = 0; i < nr_samples; i++) {
		const struct key *k = &samples[i].key;

		if (samples[i].round)
			continue;
		fprintf(to, "%s\n  {\"measure\": \"%s\", \"way\": \"%s\", \"direction\": \"%s\", "
			"\"policy\": \"%s\", \"touched\": \"%s\", \"bytes\": %llu, "
			"\"count\": %u, \"unit\": \"%s\", \"samples\": %zu, \"min\": %.10g, "
			"\"median\": %.10g, \"max\": %.10g}", separator, k->measure, k->way,
			k->direction, k->policy, k->touched, (unsigned long long)k->bytes,
			k->count, k->unit, record_nr(k), record_quantile(k, 0),
			record_median(k), record_quantile(k, 1));
		separator = ",";
	}
	fputs("\n]}\n", to);
}

/* A column where nothing applies is empty. */
static const char *applies(const char *text)
{
	return strcmp(text, "-") ? text : "";
}

/* For users, on standard error, which also has the progress of a run. */
void record_print(void)
{
	size_t i;

	for (i = 0; i < nr_samples; i++) {
		const struct key *k = &samples[i].key;
		int digits = record_median(k) < 100 ? 3 : 0;

		if (samples[i].round)
			continue;
		fprintf(stderr, "%-14s %-9s %-10s %-8s %-6s %12llu %3u %14.*f %s (%.*f to %.*f, %zu)\n",
			k->measure, applies(k->way), applies(k->direction), applies(k->policy),
			applies(k->touched), (unsigned long long)k->bytes, k->count, digits,
			record_median(k), k->unit, digits, record_quantile(k, 0.25), digits,
			record_quantile(k, 0.75), record_nr(k));
	}
}
