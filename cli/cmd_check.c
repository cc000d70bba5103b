// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem check: does this kernel keep the promises of in-place conversion, through
 * libgmem and a real guest?  Prints TAP: each promise by name, once for each available
 * mechanism.  What a mechanism does not promise is skipped, with the reason.
 */
#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "guest.h"
#include "output.h"

#define CASE_SECONDS	30

static const struct promises *const groups[] = {
	&check_memory, &check_policy, &check_range, &check_listener, &check_consent, &check_ioctl,
	&check_visible,
};

/* Promise number @i of all, or NULL. */
static const struct promise *promise_at(size_t i)
{
	size_t group;

	for (group = 0; group < sizeof(groups) / sizeof(groups[0]); i -= groups[group++]->nr) {
		if (i < groups[group]->nr)
			return &groups[group]->at[i];
	}

	return NULL;
}

/* ---- Running them ---------------------------------------------------------- */

static const char *why_not(const struct promise *promise)
{
	if (!(promise->mechanisms & (1u << probe->mechanism)))
		return "not a promise of this mechanism";
	if (promise->to_shared & ~probe->to_shared)
		return "needs a policy to shared that is not offered";
	if (promise->to_private & ~probe->to_private)
		return "needs a policy to private that is not offered";

	return promise->lacks ? promise->lacks() : NULL;
}

/* EXIT_OK, EXIT_WRONG or EXIT_UNSUPPORTED, after a line of TAP. */
static int run_case(int number, enum gmem_mechanism mechanism, const struct promise *promise)
{
	const char *title = gmem_mechanism_name(mechanism), *reason;
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		alarm(CASE_SECONDS);
		EXPECT(!vm_create(&vm, mechanism), true);
		probe = gmem_vm_probe(vm.gmem);
		reason = why_not(promise);
		if (reason) {
			printf("ok %d - %s: %s # SKIP %s\n", number, title, promise->name, reason);
			fflush(stdout);
			_exit(EXIT_UNSUPPORTED);
		}
		gmem = vm_memory(&vm, SIZE, GMEM_SHARED, VM_DATA_SLOT, VM_DATA, &mem);
		promise->run();
		gmem_destroy(gmem);
		vm_destroy(&vm);
		_exit(EXIT_OK);
	}

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_UNSUPPORTED)
		return EXIT_UNSUPPORTED;
	if (WIFSIGNALED(status))
		printf("# ended by signal %d%s\n", WTERMSIG(status),
		       WTERMSIG(status) == SIGALRM ? ", it took too long" : "");
	printf("%sok %d - %s: %s\n", status ? "not " : "", number, title, promise->name);
	output_flush();

	return status ? EXIT_WRONG : EXIT_OK;
}

static bool is_wanted(const struct promise *promise, char **patterns)
{
	if (promise->must_agree && !guest_arch.must_agree)
		return false;
	if (!*patterns)
		return true;
	for (; *patterns; patterns++) {
		if (!fnmatch(*patterns, promise->name, 0))
			return true;
	}

	return false;
}

static bool matches_something(char *pattern)
{
	char *patterns[] = { pattern, NULL };
	const struct promise *promise;
	size_t i;

	for (i = 0; (promise = promise_at(i)); i++) {
		if (is_wanted(promise, patterns))
			return true;
	}

	return false;
}

static const struct {
	const char *option;
	enum gmem_mechanism mechanism;
} mechanisms[] = {
	{ "in-place", GMEM_IN_PLACE },
	{ "in-place-plain", GMEM_IN_PLACE_PLAIN },
	{ "two-backings", GMEM_TWO_BACKINGS },
};

#define NR_MECHANISMS (sizeof(mechanisms) / sizeof(mechanisms[0]))

static uint32_t parse_mechanism(const char *text)
{
	size_t i;

	for (i = 0; i < NR_MECHANISMS; i++) {
		if (!strcmp(text, mechanisms[i].option))
			return 1u << mechanisms[i].mechanism;
	}
	die_usage("no mechanism '%s': in-place, in-place-plain or two-backings", text);
}

int cmd_check(int argc, char **argv)
{
	static const struct option options[] = {
		{ "mechanism", required_argument, NULL, 'm' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int totals[EXIT_UNSUPPORTED + 1] = {}, number = 0, c;
	const struct promise *promise;
	uint32_t wanted = 0;
	const char *lacking;
	struct vm probing;
	char **pattern;
	size_t i, j, nr = 0;
	bool list = false;

	while ((c = getopt_long(argc, argv, "m:lh", options, NULL)) != -1) {
		switch (c) {
		case 'm':
			wanted |= parse_mechanism(optarg);
			break;
		case 'l':
			list = true;
			break;
		case 'h':
			puts("usage: gmem check [OPTION]... [PATTERN]...\n"
			     "Check whether this kernel keeps its promises, or those that match a PATTERN (TAP).\n"
			     "  -m, --mechanism NAME  check only in-place, in-place-plain or two-backings; may be\n"
			     "                        given more than once; default: all that are available\n"
			     "  -l, --list            list the names of the promises\n"
			     "  -h, --help            print this help");
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	for (pattern = argv + optind; *pattern; pattern++) {
		if (!matches_something(*pattern))
			die_usage("no promise is called '%s', 'gmem check -l' lists them", *pattern);
	}
	for (i = 0; (promise = promise_at(i)); i++) {
		if (!is_wanted(promise, argv + optind))
			continue;
		nr++;
		if (list)
			puts(promise->name);
	}
	if (list)
		return EXIT_OK;

	puts("TAP version 13");
	output_flush();
	lacking = vm_create(&probing, GMEM_MECHANISM_NONE);
	if (!lacking) {
		if (!wanted)
			wanted = gmem_vm_probe(probing.gmem)->mechanisms;
		if (wanted & ~gmem_vm_probe(probing.gmem)->mechanisms)
			lacking = "this kernel lacks a requested mechanism; 'gmem probe' says which it has";
		vm_destroy(&probing);
	}
	if (lacking) {
		printf("1..0 # SKIP %s\n", lacking);
		return EXIT_UNSUPPORTED;
	}

	printf("1..%zu\n", nr * __builtin_popcount(wanted));
	output_flush();
	for (i = 0; i < NR_MECHANISMS; i++) {
		if (!(wanted & (1u << mechanisms[i].mechanism)))
			continue;
		for (j = 0; (promise = promise_at(j)); j++) {
			if (is_wanted(promise, argv + optind))
				totals[run_case(++number, mechanisms[i].mechanism, promise)]++;
		}
	}
	printf("# %d passed, %d failed, %d skipped\n", totals[EXIT_OK], totals[EXIT_WRONG],
	       totals[EXIT_UNSUPPORTED]);

	return totals[EXIT_WRONG] ? EXIT_WRONG : EXIT_OK;
}
