// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Where the time of a conversion goes: the kernel's functions, by samples of a clock
 * that runs only while the profiled code does.  It cannot sample stretches with
 * interrupts off, which it charges to where they are enabled again.
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE
#define PERIOD_NS	50000
#define RING_PAGES	512ul
#define SHOWN		16

struct symbol {
	uint64_t at;
	unsigned int hits;
	char name[48];
};

static struct symbol *symbols;
static size_t nr_symbols;
static struct perf_event_mmap_page *ring;
static int event;

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

static int by_hits(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->hits < y->hits) - (x->hits > y->hits);
}

static void read_symbols(void)
{
	FILE *from = fopen("/proc/kallsyms", "re");
	unsigned long long at;
	char type, name[48];

	if (!from)
		die("/proc/kallsyms");
	nr_symbols = 0;
	symbols = realloc(symbols, 400000 * sizeof(symbols[0]));
	if (!symbols)
		die("no memory for symbols");
	while (nr_symbols < 400000 && fscanf(from, "%llx %c %47s%*[^\n]", &at, &type, name) == 3) {
		if (type != 't' && type != 'T' && type != 'w' && type != 'W')
			continue;
		symbols[nr_symbols].at = at;
		symbols[nr_symbols].hits = 0;
		strcpy(symbols[nr_symbols++].name, name);
	}
	fclose(from);
	qsort(symbols, nr_symbols, sizeof(symbols[0]), by_address);
}

static void count(uint64_t ip)
{
	size_t low = 0, high = nr_symbols;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (symbols[middle].at <= ip)
			low = middle;
		else
			high = middle;
	}
	symbols[low].hits++;
}

static void open_clock(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK, .sample_period = PERIOD_NS,
		.sample_type = PERF_SAMPLE_IP, .disabled = 1, .exclude_user = 1,
	};

	event = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (event < 0)
		die("perf_event_open");
	ring = mmap(NULL, (RING_PAGES + 1) * BENCH_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    event, 0);
	if (ring == MAP_FAILED)
		die("mmap of the samples");
}

static void read_samples(void)
{
	uint8_t *data = (uint8_t *)ring + BENCH_PAGE;
	uint64_t head = __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE);

	while (ring->data_tail < head) {
		struct perf_event_header *header =
			(void *)(data + ring->data_tail % (RING_PAGES * BENCH_PAGE));

		if (header->type == PERF_RECORD_SAMPLE)
			count(*(uint64_t *)(header + 1));
		ring->data_tail += header->size;
	}
}

static void on(void)
{
	ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
}

static void off(void)
{
	ioctl(event, PERF_EVENT_IOC_DISABLE, 0);
}

static void to_private(struct memory *memory)
{
	memory_convert(memory, 0, memory->size, false, PRESERVE);
	memory_guest_touch(memory, 0, memory->size);
	memory_host_touch(memory, 0, memory->size);
	on();
	memory_convert(memory, 0, memory->size, true, PRESERVE);
	off();
}

static void to_shared(struct memory *memory)
{
	memory_convert(memory, 0, memory->size, true, PRESERVE);
	memory_guest_touch(memory, 0, memory->size);
	on();
	memory_convert(memory, 0, memory->size, false, PRESERVE);
	off();
}

static void round_trip(struct memory *memory)
{
	on();
	memory_convert(memory, 0, memory->size, false, PRESERVE);
	memory_host_touch(memory, 0, memory->size);
	memory_convert(memory, 0, memory->size, true, PRESERVE);
	memory_guest_touch(memory, 0, memory->size);
	off();
}

static void nothing_there(struct memory *memory)
{
	memory_reset(memory, memory->size, false);
	on();
	memory_convert(memory, 0, memory->size, true, PRESERVE);
	off();
}

static void profile(const char *name, uint64_t bytes, void (*what)(struct memory *),
		    unsigned int rounds)
{
	unsigned int i, hits = 0;
	struct memory memory;
	struct guest guest;

	guest_create(&guest, 1);
	memory_create(&memory, &guest, NEW, SLOT, GUEST_GPA, bytes, true);
	read_symbols();
	for (i = 0; i < rounds; i++) {
		what(&memory);
		read_samples();
	}
	memory_destroy(&memory);
	guest_destroy(&guest);

	for (i = 0; i < nr_symbols; i++)
		hits += symbols[i].hits;
	qsort(symbols, nr_symbols, sizeof(symbols[0]), by_hits);
	fprintf(stderr, "\n%s, %u samples\n", name, hits);
	for (i = 0; i < SHOWN && symbols[i].hits; i++)
		fprintf(stderr, "  %5.1f %%  %s\n", 100.0 * symbols[i].hits / hits,
			symbols[i].name);
}

static void run(void)
{
	open_clock();
	profile("512 MiB to private, nothing allocated", 512 * MIB, nothing_there, 3000);
	profile("one page to private, mapped by both", BENCH_PAGE, to_private, 3000);
	profile("one page to shared, mapped by the guest", BENCH_PAGE, to_shared, 3000);
	profile("2 MiB to private, mapped by both", 2 * MIB, to_private, 60);
	profile("2 MiB to shared, mapped by the guest", 2 * MIB, to_shared, 60);
	profile("round trip of 2 MiB", 2 * MIB, round_trip, 20);
	munmap(ring, (RING_PAGES + 1) * BENCH_PAGE);
	close(event);
}

const struct bench bench_profile = {
	.name = "profile",
	.help = "where the kernel's time goes; only when named",
	.run = run,
	.on_request = true,
};
