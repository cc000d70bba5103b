// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Promises of gmem check: what a page reads after a conversion with each policy. */
#include <string.h>

#include "check.h"
#include "guest.h"

static void zero_to_shared_reads_zeros(void)
{
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	guest_write(&vm, 4, 's');
	guest_agree(&vm, 4, 1);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(mem + 4 * PAGE), 0);
	EXPECT(guest_read(&vm, 4), 0);
	EXPECT(host_read(mem + 5 * PAGE), 0);
}

static void zero_to_shared_hides_what_the_host_left(void)
{
	memset(mem + 4 * PAGE, 'o', PAGE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(mem + 4 * PAGE), 0);
}

static void zero_to_private_reads_zeros(void)
{
	memset(mem, 'z', SIZE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_ZERO, NULL), 0);
	EXPECT(guest_read(&vm, 0), 0);
	EXPECT(guest_read(&vm, PAGES - 1), 0);
}

static void preserve_keeps_bytes_both_ways(void)
{
	int page;

	for (page = 0; page < PAGES; page++)
		memset(mem + page * PAGE, 'A' + page, PAGE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	for (page = PAGES; page-- > 0; )
		EXPECT(guest_read(&vm, page), 'A' + page);
	for (page = 0; page < PAGES; page++)
		guest_write(&vm, page, 'a' + page);
	guest_agree(&vm, 0, PAGES);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_PRESERVE, NULL), 0);
	for (page = PAGES; page-- > 0; )
		EXPECT(host_read(mem + page * PAGE), 'a' + page);
}

static void none_reads_what_this_vm_type_leaves(void)
{
	memset(mem, 'n', SIZE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(guest_read(&vm, 2), guest_none_leaves('n'));
	guest_write(&vm, 2, 'm');
	guest_agree(&vm, 2, 1);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_NONE, NULL), 0);
	EXPECT(host_read(mem + 2 * PAGE), guest_none_leaves('m'));
}

static void repeated_conversion_keeps_bytes(void)
{
	memset(mem, 'r', SIZE);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(mem + 7 * PAGE), 'r');
	/* The middle changes, what is around it does not. */
	EXPECT(convert(gmem, 4 * PAGE, 2 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(host_read(mem + 3 * PAGE), 'r');
	EXPECT(host_read(mem + 4 * PAGE), 0);
	EXPECT(host_read(mem + 6 * PAGE), 'r');
}

static const struct promise promises[] = {
	PROMISE("policy", zero_to_shared_reads_zeros, ANY, Z, N),
	PROMISE("policy", zero_to_shared_hides_what_the_host_left, ANY, Z, N),
	PROMISE("policy", zero_to_private_reads_zeros, ANY, 0, Z),
	PROMISE("policy", preserve_keeps_bytes_both_ways, ANY, P, P),
	PROMISE("policy", none_reads_what_this_vm_type_leaves, POLICIES, N, N),
	PROMISE("policy", repeated_conversion_keeps_bytes, ANY, Z, N),
};

const struct promises check_policy = { promises, sizeof(promises) / sizeof(promises[0]) };
