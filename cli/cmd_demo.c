// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem demo: a real guest on a guest_memfd that is converted in place.  Each
 * line shows what was done and what was then read; anything that differs from
 * what the interface promises is marked and makes the command fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest.h"

#define PAGES		8
/* It has its own slot, as a slot that a guest has used may have to stay. */
#define COST_SLOT	2

static int nr_wrong;

static const char *show(int value)
{
	static char text[4][16];
	static int next;
	char *to = text[next++ % 4];

	if (value == SIGBUS_READ)
		return "SIGBUS";
	if (value == MIXED)
		return "mixed bytes";
	snprintf(to, sizeof(text[0]), value > ' ' && value < 0x7f ? "'%c'" : "0x%02x", value);
	return to;
}

/* One line of the story: what was done, what it led to, what was promised. */
static void tell(const char *what, int seen, int promised)
{
	bool wrong = seen != promised;

	printf("  %-58s %-10s", what, show(seen));
	if (wrong)
		printf(" WRONG, promised %s", show(promised));
	putchar('\n');
	nr_wrong += wrong;
}

static void tell_call(const char *what, int seen, int promised)
{
	bool wrong = seen != promised;

	printf("  %-58s %-10s", what, seen ? strerror(-seen) : "done");
	if (wrong)
		printf(" WRONG, promised %s", promised ? strerror(-promised) : "success");
	putchar('\n');
	nr_wrong += wrong;
}

static int promised(enum gmem_policy policy, int before)
{
	return policy == GMEM_ZERO ? 0 : policy == GMEM_NONE ? guest_none_leaves(before) : before;
}

/* The policy to private, or one that every VM of the demonstration has. */
static enum gmem_policy to_private(struct vm *vm, enum gmem_policy policy)
{
	return gmem_vm_probe(vm->gmem)->to_private & GMEM_POLICY_BIT(policy) ? policy : GMEM_PRESERVE;
}

static void agree(struct vm *vm, unsigned int first, unsigned int last)
{
	unsigned int page;

	guest_agree(vm, first, last - first + 1);
	for (page = first; guest_arch.must_agree && page <= last; page++)
		printf("  the guest agrees to share page %u\n", page);
}

static void policy_story(struct vm *vm, struct gmem *gmem, uint8_t *mem, enum gmem_policy policy)
{
	enum gmem_policy there = to_private(vm, policy);
	char line[80];

	printf("\nPolicy %s, page 1\n", gmem_policy_name(policy));
	agree(vm, 1, 1);
	memset(mem + PAGE, 'H', PAGE);
	tell("host writes 'H', guest reads", guest_read(vm, 1), 'H');

	snprintf(line, sizeof(line), "convert to private, %s", gmem_policy_name(there));
	tell_call(line, convert(gmem, PAGE, PAGE, GMEM_PRIVATE, there, NULL), 0);
	tell("host reads", try_host_read(mem + PAGE), SIGBUS_READ);
	tell("guest reads", guest_read(vm, 1), promised(there, 'H'));

	guest_write(vm, 1, 'G');
	tell("guest writes 'G', guest reads", guest_read(vm, 1), 'G');
	snprintf(line, sizeof(line), "convert to shared, %s", gmem_policy_name(policy));
	tell_call(line, convert(gmem, PAGE, PAGE, GMEM_SHARED, policy, NULL), 0);
	tell("host reads", try_host_read(mem + PAGE), promised(policy, 'G'));
	memset(mem + PAGE, 'L', PAGE);
	tell("host writes 'L', guest reads it live", guest_read(vm, 1), 'L');
}

static void guest_story(struct vm *vm, struct gmem *gmem, uint8_t *mem)
{
	const uint64_t gpa = VM_DATA + 2 * PAGE;
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	opts.to_shared = GMEM_PRESERVE;
	opts.to_private = GMEM_PRESERVE;
	printf("\nThe guest asks: %s, pages 2 and 3\n", guest_arch.hypercall);
	agree(vm, 2, 3);
	memset(mem + 3 * PAGE, 'H', PAGE);
	tell_call("guest: make them private", guest_ask(vm, gpa, 2, true, &opts), 0);
	tell("host reads page 3", try_host_read(mem + 3 * PAGE), SIGBUS_READ);
	gmem_lookup(gmem, 2 * PAGE, &range);
	tell("libgmem knows how many are private", '0' + range.size / PAGE, '2');
	guest_write(vm, 3, 'G');
	tell_call("guest: make them shared", guest_ask(vm, gpa, 2, false, &opts), 0);
	tell("host reads page 3", try_host_read(mem + 3 * PAGE), 'G');
}

/* The guest has touched page 4, and nobody has asked it. */
static void consent_story(struct vm *vm, struct gmem *gmem, uint8_t *mem)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	char line[80];

	printf("\nWithout the guest's consent, page 4\n");
	tell_call("convert to private, PRESERVE",
		  convert(gmem, 4 * PAGE, PAGE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	guest_write(vm, 4, 'S');
	tell("guest writes 'S', guest reads", guest_read(vm, 4), 'S');
	tell_call("convert pages 3 to 5 to shared, PRESERVE",
		  convert(gmem, 3 * PAGE, 3 * PAGE, GMEM_SHARED, GMEM_PRESERVE, &result), -EPERM);
	snprintf(line, sizeof(line), "the kernel says: the page at offset %#llx",
		 (unsigned long long)result.where);
	tell(line, result.where == 4 * PAGE ? '4' : '?', '4');
	tell("host reads", try_host_read(mem + 4 * PAGE), SIGBUS_READ);
	tell("guest reads", guest_read(vm, 4), 'S');
	agree(vm, 4, 4);
	tell_call("convert to shared, PRESERVE",
		  convert(gmem, 4 * PAGE, PAGE, GMEM_SHARED, GMEM_PRESERVE, NULL), 0);
	tell("host reads", try_host_read(mem + 4 * PAGE), 'S');
}

static void pin_story(struct vm *vm, struct gmem *gmem, uint8_t *mem)
{
	enum gmem_policy policy = to_private(vm, GMEM_ZERO);
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	const uint64_t all = PAGES * PAGE;
	int pipefd[2];
	char line[80];

	printf("\nA page that somebody holds\n");
	memset(mem, 'A', PAGE);
	pin_in_pipe(mem + 5 * PAGE, pipefd);
	printf("  page 5 is in a pipe (vmsplice)\n");
	tell_call("convert pages 0 to 7 to private",
		  convert(gmem, 0, all, GMEM_PRIVATE, policy, &result), -EAGAIN);
	snprintf(line, sizeof(line), "the kernel says: the page at offset %#llx",
		 (unsigned long long)result.where);
	tell(line, result.where == 5 * PAGE ? '5' : '?', '5');
	tell("nothing has changed, host reads page 0", try_host_read(mem), 'A');
	unpin_pipe(pipefd);
	tell_call("the pipe is closed, convert again",
		  convert(gmem, 0, all, GMEM_PRIVATE, policy, NULL), 0);
	tell("host reads page 5", try_host_read(mem + 5 * PAGE), SIGBUS_READ);
	tell_call("convert everything back to shared",
		  convert(gmem, 0, all, GMEM_SHARED, GMEM_ZERO, NULL), 0);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

#define COST_SIZE	(2ul << 20)
#define COST_ROUNDS	9

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *samples)
{
	qsort(samples, COST_ROUNDS, sizeof(samples[0]), by_value);
	return samples[COST_ROUNDS / 2];
}

/*
 * To shared, host touches all, to private: the cost of a bounce buffer.  With two
 * backings the private pages have to be allocated anew, as a guest's touch would
 * do.
 */
static double cost(struct vm *vm, enum gmem_policy policy)
{
	bool in_place = gmem_vm_probe(vm->gmem)->mechanism == GMEM_IN_PLACE;
	double samples[COST_ROUNDS], began;
	struct gmem *gmem;
	uint8_t *mem;
	size_t i;
	int round;

	gmem = vm_memory(vm, COST_SIZE, GMEM_SHARED, COST_SLOT, 1ul << 32, &mem);
	memset(mem, 1, COST_SIZE);

	if (convert(gmem, 0, COST_SIZE, GMEM_PRIVATE, policy, NULL))
		die("conversion of 2 MiB to private");
	for (round = 0; round < COST_ROUNDS; round++) {
		if (!in_place && fallocate(gmem_private_fd(gmem), FALLOC_FL_KEEP_SIZE, 0, COST_SIZE))
			die("fallocate");
		began = now();
		if (convert(gmem, 0, COST_SIZE, GMEM_SHARED, policy, NULL))
			die("conversion of 2 MiB to shared");
		for (i = 0; i < COST_SIZE; i += PAGE)
			mem[i]++;
		if (convert(gmem, 0, COST_SIZE, GMEM_PRIVATE, policy, NULL))
			die("conversion of 2 MiB to private");
		if (!in_place && fallocate(gmem_private_fd(gmem), FALLOC_FL_KEEP_SIZE, 0, COST_SIZE))
			die("fallocate");
		samples[round] = now() - began;
	}

	gmem_destroy(gmem);
	return median(samples);
}

static void cost_story(struct vm *vm)
{
	double in_place, two_backings;
	struct vm old;

	printf("\nWhat 2 MiB cost, to shared, host touches all, back to private%s\n",
	       cpu_is_emulated() ? " (TCG is an emulator: only the ratio is meaningful)" : "");
	in_place = cost(vm, GMEM_PRESERVE);
	printf("  in place, contents kept %40.0f us\n", in_place);
	if (vm_create(&old, GMEM_TWO_BACKINGS))
		return;
	two_backings = cost(&old, GMEM_NONE);
	printf("  two backings, contents lost %36.0f us\n", two_backings);
	printf("  ratio %58.1f\n", two_backings / in_place);
	vm_destroy(&old);
}

int cmd_demo(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	const char *lacking;
	struct gmem *gmem;
	struct vm vm;
	uint8_t *mem;
	int policy, c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c != 'h')
			return EXIT_USAGE;
		puts("usage: gmem demo\n"
		     "Convert the memory of a real guest, step by step, and check it.\n"
		     "  -h, --help  print this help");
		return EXIT_OK;
	}
	if (optind < argc)
		die_usage("demo takes no argument '%s'", argv[optind]);

	lacking = vm_create(&vm, GMEM_IN_PLACE);
	if (lacking)
		die_unsupported(lacking);
	gmem = vm_memory(&vm, PAGES * PAGE, GMEM_SHARED, VM_DATA_SLOT, VM_DATA, &mem);
	printf("A guest with one vCPU, a guest_memfd of %d pages: mapped by the host and\n"
	       "bound to the guest at %#lx, all of it shared\n", PAGES, VM_DATA);

	for (policy = GMEM_ZERO; policy <= GMEM_NONE; policy++)
		policy_story(&vm, gmem, mem, policy);

	printf("\nWhat is refused\n");
	tell_call("convert with policy 3", convert(gmem, 0, PAGE, GMEM_PRIVATE, 3, NULL), -EINVAL);
	tell_call("convert a range beyond the end",
		  convert(gmem, PAGES * PAGE, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	tell_call("convert where the guest has nothing",
		  gmem_convert_gpa(vm.gmem, 1ul << 40, PAGE, GMEM_PRIVATE, NULL, NULL), -ENXIO);

	guest_story(&vm, gmem, mem);
	if (guest_arch.must_agree)
		consent_story(&vm, gmem, mem);
	pin_story(&vm, gmem, mem);
	gmem_destroy(gmem);
	cost_story(&vm);

	printf("\n%s\n", nr_wrong ? "Something was not as promised." : "Everything read as promised.");
	vm_destroy(&vm);
	return nr_wrong ? EXIT_WRONG : EXIT_OK;
}
