// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * gmem probe: what this kernel offers, by type of VM, and what libgmem would use.
 * Everything that is printed was tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/kvm_gmem.h>

#include "guest.h"

#define NR_ROWS		8

struct row {
	const struct vm_type *type;
	/* Creating the VM, or probing it; 0 if that worked. */
	int error;
	struct gmem_probe probe;
	/* Does KVM_GET_MEMORY_ATTRIBUTES2 work? */
	bool tells_states;
};

static void probe_type(int kvm, struct row *row)
{
	int vm = ioctl(kvm, KVM_CREATE_VM, row->type->number);

	if (vm < 0) {
		row->error = errno;
		return;
	}

	row->probe = GMEM_INIT(struct gmem_probe);
	row->error = -gmem_probe(vm, row->type->number, GMEM_MECHANISM_NONE, &row->probe);
	row->tells_states = ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_GET_MEMORY_ATTRIBUTES2) > 0;
	close(vm);
}

static void print_table(const struct row *rows, size_t nr)
{
	const struct row *row;

	printf("%-14s %-16s %-11s %-20s %s\n", "VM TYPE", "MECHANISM", "ATTRIBUTES",
	       "POLICIES TO SHARED", "POLICIES TO PRIVATE");
	for (row = rows; row < rows + nr; row++) {
		if (row->error) {
			printf("%-14s cannot be tried: %s\n", row->type->name, strerror(row->error));
			continue;
		}
		printf("%-14s %-16s %-11s ", row->type->name,
		       gmem_mechanism_name(row->probe.mechanism),
		       row->probe.attributes & GMEM_PRIVATE ? "private" : "-");
		printf("%-20s ", policy_list(row->probe.to_shared));
		printf("%s\n", policy_list(row->probe.to_private));
	}
}

static void print_policies(const char *name, uint32_t policies)
{
	const char *comma = "";
	int policy;

	printf(", \"%s\": [", name);
	for (policy = GMEM_ZERO; policy <= GMEM_NONE; policy++) {
		if (!(policies & GMEM_POLICY_BIT(policy)))
			continue;
		printf("%s\"%s\"", comma, gmem_policy_name(policy));
		comma = ", ";
	}
	putchar(']');
}

static void print_json(const struct row *rows, size_t nr)
{
	const struct row *row;

	printf("[\n");
	for (row = rows; row < rows + nr; row++) {
		printf("  { \"vm_type\": \"%s\"", row->type->name);
		if (row->error) {
			printf(", \"error\": \"%s\"", strerror(row->error));
		} else {
			printf(", \"mechanism\": \"%s\"", gmem_mechanism_name(row->probe.mechanism));
			printf(", \"attributes\": [%s]",
			       row->probe.attributes & GMEM_PRIVATE ? "\"private\"" : "");
			print_policies("to_shared", row->probe.to_shared);
			print_policies("to_private", row->probe.to_private);
			printf(", \"atomic\": %s", row->probe.is_atomic ? "true" : "false");
			printf(", \"tells_states\": %s", row->tells_states ? "true" : "false");
		}
		printf(" }%s\n", row + 1 < rows + nr ? "," : "");
	}
	printf("]\n");
}

int cmd_probe(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	struct row rows[NR_ROWS] = {};
	bool found = false, tells = false, json = false;
	const struct vm_type *type;
	size_t nr = 0, i;
	int kvm, c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'h':
			puts("usage: gmem probe [OPTION]...\n"
			     "Print what this kernel offers for each type of VM.\n"
			     "      --json  print an array with an object for each type\n"
			     "  -h, --help  print this help");
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		die_usage("probe takes no argument '%s'", argv[optind]);

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		die("cannot open /dev/kvm (is KVM there, and are you in the group 'kvm'?)");

	for (type = vm_types; type->name && nr < NR_ROWS; type++) {
		if (!vm_type_exists(kvm, type))
			continue;
		rows[nr].type = type;
		probe_type(kvm, &rows[nr++]);
	}
	close(kvm);

	if (json)
		print_json(rows, nr);
	else
		print_table(rows, nr);

	for (i = 0; i < nr; i++) {
		found |= rows[i].probe.mechanism >= GMEM_IN_PLACE_PLAIN;
		tells |= rows[i].tells_states;
	}
	if (!json)
		printf("\nKVM_CAP_GET_MEMORY_ATTRIBUTES2, for gmem map, top and stat: %s\n", tells ? "yes" : "no");
	if (!found && !json)
		printf("No VM type here converts memory in place.\n");

	return found ? EXIT_OK : EXIT_UNSUPPORTED;
}
