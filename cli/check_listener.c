// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Promises of gmem check: who is told of a conversion, and what a guest asks for. */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "guest.h"

/* What the listener was told, as letters: P before private, S after shared. */
static char told[32];

static int tell_private(struct gmem_listener *listener, const struct gmem_range *range)
{
	(void)listener;
	EXPECT(range->attributes, GMEM_SHARED);
	EXPECT(range->gpa, VM_DATA + range->offset);
	/* The host still has it. */
	EXPECT(try_host_read(mem + range->offset) != SIGBUS_READ, true);
	strcat(told, "P");
	return 0;
}

static int tell_shared(struct gmem_listener *listener, const struct gmem_range *range)
{
	(void)listener;
	(void)range;
	/* The host has it already, and it reads what the policy says. */
	EXPECT(try_host_read(mem + range->offset) != SIGBUS_READ, true);
	strcat(told, "S");
	return 0;
}

static void listeners_are_told_in_order(void)
{
	struct gmem_listener listener = GMEM_INIT(struct gmem_listener);
	int pipefd[2];

	listener.before_private = tell_private;
	listener.after_shared = tell_shared;
	EXPECT(gmem_add_listener(vm.gmem, &listener), 0);

	/* Two ranges change, around one that is private already. */
	EXPECT(convert(gmem, 4 * PAGE, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	EXPECT(strcmp(told, "PPP"), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(strcmp(told, "PPPS"), 0);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	EXPECT(strcmp(told, "PPPS"), 0);

	if (probe->mechanism != GMEM_TWO_BACKINGS) {
		pin_in_pipe(mem, pipefd);
		EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_NONE, NULL), -EAGAIN);
		unpin_pipe(pipefd);
		EXPECT(strcmp(told, "PPPSPS"), 0);
	}
	EXPECT(gmem_remove_listener(vm.gmem, &listener), 0);
}

static void hypercall_converts_what_the_guest_asks(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	int pipefd[2];

	opts.to_shared = GMEM_ZERO;
	guest_agree(&vm, 0, 3);
	EXPECT(guest_ask(&vm, VM_DATA + PAGE, 2, true, &opts), 0);
	expect_attributes(0, PAGE, GMEM_SHARED);
	expect_attributes(PAGE, 2 * PAGE, GMEM_PRIVATE);
	guest_write(&vm, 1, 'c');
	EXPECT(guest_ask(&vm, VM_DATA + PAGE, 2, false, &opts), 0);
	expect_attributes(0, SIZE, GMEM_SHARED);
	EXPECT(host_read(mem + PAGE), 0);
	/* Where there is nothing, consent is an access. */
	if (!guest_arch.must_agree)
		EXPECT(guest_ask(&vm, 0x40000000, 1, true, &opts), -EINVAL);

	if (probe->mechanism != GMEM_TWO_BACKINGS) {
		pin_in_pipe(mem, pipefd);
		EXPECT(guest_ask(&vm, VM_DATA, 1, true, &opts), -EAGAIN);
		unpin_pipe(pipefd);
		EXPECT(guest_ask(&vm, VM_DATA, 1, true, &opts), 0);
	}
}

static const struct promise promises[] = {
	PROMISE("listener", listeners_are_told_in_order, ANY, Z, N),
	PROMISE("exit", hypercall_converts_what_the_guest_asks, ANY, Z, N),
};

const struct promises check_listener = { promises, sizeof(promises) / sizeof(promises[0]) };
