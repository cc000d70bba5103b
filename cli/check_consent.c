// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Promises of gmem check where guests have a say in what becomes shared. */
#include <errno.h>
#include <string.h>

#include "check.h"

/* Page @page is the guest's, which has written @byte to it. */
static void give_to_guest(unsigned int page, uint8_t byte)
{
	EXPECT(convert(gmem, page * PAGE, PAGE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	guest_write(&vm, page, byte);
}

static struct gmem_convert_opts keep_contents(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	opts.to_shared = GMEM_PRESERVE;
	opts.to_private = GMEM_PRESERVE;
	return opts;
}

static void page_that_the_guest_shares_keeps_bytes_both_ways(void)
{
	struct gmem_convert_opts keep = keep_contents();

	give_to_guest(5, 'g');
	EXPECT(try_host_read(mem + 5 * PAGE), SIGBUS_READ);
	EXPECT(guest_ask(&vm, VM_DATA + 5 * PAGE, 1, false, &keep), 0);
	expect_attributes(5 * PAGE, PAGE, GMEM_SHARED);
	EXPECT(host_read(mem + 5 * PAGE), 'g');
	memset(mem + 5 * PAGE, 'h', PAGE);
	EXPECT(guest_read(&vm, 5), 'h');
	EXPECT(guest_ask(&vm, VM_DATA + 5 * PAGE, 1, true, &keep), 0);
	expect_attributes(5 * PAGE, PAGE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 5 * PAGE), SIGBUS_READ);
	EXPECT(guest_read(&vm, 5), 'h');
}

static void guest_that_touches_a_shared_page_asks_for_it(void)
{
	struct gmem_convert_opts keep = keep_contents();

	memset(mem + 6 * PAGE, 't', PAGE);
	EXPECT(guest_read_asking(&vm, 6, &keep), 't');
	expect_attributes(6 * PAGE, PAGE, GMEM_PRIVATE);
	expect_attributes(7 * PAGE, PAGE, GMEM_SHARED);
	EXPECT(try_host_read(mem + 6 * PAGE), SIGBUS_READ);
}

static void to_shared_without_consent_is_refused_where_it_is(void)
{
	static const enum gmem_policy policies[] = { GMEM_ZERO, GMEM_PRESERVE, GMEM_NONE };
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	size_t i;

	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	guest_write(&vm, 9, 'c');
	guest_write(&vm, 11, 'd');
	opts.timeout_ms = 1000;
	for (i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (!offers(GMEM_SHARED, policies[i]))
			continue;
		opts.to_shared = policies[i];
		EXPECT(gmem_convert(gmem, 4 * PAGE, SIZE - 4 * PAGE, GMEM_SHARED, &opts, &result), -EPERM);
		EXPECT(result.where, 9 * PAGE);
		EXPECT(result.step, GMEM_STEP_CONVERT);
		EXPECT(result.left_size, 0);
		/* Waiting does not help. */
		EXPECT(result.attempts, 0);
		EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, SIZE, GMEM_SHARED, &opts, &result), -EPERM);
		EXPECT(result.where, VM_DATA + 9 * PAGE);
	}
	expect_attributes(0, SIZE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 4 * PAGE), SIGBUS_READ);
	EXPECT(try_host_read(mem + 9 * PAGE), SIGBUS_READ);
	EXPECT(guest_read(&vm, 9), 'c');
	EXPECT(guest_read(&vm, 11), 'd');
}

static void consent_is_for_one_page(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	EXPECT(convert(gmem, 0, SIZE, GMEM_PRIVATE, GMEM_PRESERVE, NULL), 0);
	guest_write(&vm, 2, '2');
	guest_write(&vm, 3, '3');
	guest_agree(&vm, 2, 1);
	EXPECT(convert(gmem, 2 * PAGE, 2 * PAGE, GMEM_SHARED, GMEM_PRESERVE, &result), -EPERM);
	EXPECT(result.where, 3 * PAGE);
	expect_attributes(2 * PAGE, 2 * PAGE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 2 * PAGE), SIGBUS_READ);
	EXPECT(convert(gmem, 2 * PAGE, PAGE, GMEM_SHARED, GMEM_PRESERVE, NULL), 0);
	EXPECT(host_read(mem + 2 * PAGE), '2');
	EXPECT(guest_read(&vm, 3), '3');
}

static void consent_is_taken_back_by_unsharing(void)
{
	struct gmem_convert_opts keep = keep_contents();

	give_to_guest(1, 'u');
	EXPECT(guest_ask(&vm, VM_DATA + PAGE, 1, false, &keep), 0);
	EXPECT(guest_ask(&vm, VM_DATA + PAGE, 1, true, &keep), 0);
	EXPECT(convert(gmem, PAGE, PAGE, GMEM_SHARED, GMEM_PRESERVE, NULL), -EPERM);
	EXPECT(guest_read(&vm, 1), 'u');
}

static void unsharing_waits_while_the_host_holds_the_page(void)
{
	struct gmem_convert_opts keep = keep_contents();
	int pipefd[2];

	give_to_guest(8, 'w');
	EXPECT(guest_ask(&vm, VM_DATA + 8 * PAGE, 1, false, &keep), 0);
	pin_in_pipe(mem + 8 * PAGE, pipefd);
	EXPECT(guest_ask(&vm, VM_DATA + 8 * PAGE, 1, true, &keep), -EAGAIN);
	expect_attributes(8 * PAGE, PAGE, GMEM_SHARED);
	EXPECT(host_read(mem + 8 * PAGE), 'w');
	unpin_pipe(pipefd);
	EXPECT(guest_ask(&vm, VM_DATA + 8 * PAGE, 1, true, &keep), 0);
	expect_attributes(8 * PAGE, PAGE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 8 * PAGE), SIGBUS_READ);
	EXPECT(guest_read(&vm, 8), 'w');
}

static int refuse(struct gmem_listener *listener, const struct gmem_range *range)
{
	(void)range;
	++*(int *)listener->arg;
	return -EBUSY;
}

static int accept_all(struct gmem_listener *listener, const struct gmem_range *range)
{
	(void)listener;
	(void)range;
	return 0;
}

static void request_that_is_not_granted_comes_again(void)
{
	struct gmem_listener listener = GMEM_INIT(struct gmem_listener);
	struct gmem_convert_opts keep = keep_contents();
	int nr_asked = 0, i;

	give_to_guest(4, 'n');
	listener.before_private = accept_all;
	listener.after_shared = refuse;
	listener.arg = &nr_asked;
	EXPECT(gmem_add_listener(vm.gmem, &listener), 0);
	for (i = 0; i < 3; i++)
		EXPECT(guest_ask(&vm, VM_DATA + 4 * PAGE, 1, false, &keep), -EBUSY);
	EXPECT(nr_asked, 3);
	expect_attributes(4 * PAGE, PAGE, GMEM_PRIVATE);
	EXPECT(try_host_read(mem + 4 * PAGE), SIGBUS_READ);
	EXPECT(gmem_remove_listener(vm.gmem, &listener), 0);
	EXPECT(guest_ask(&vm, VM_DATA + 4 * PAGE, 1, false, &keep), 0);
	EXPECT(host_read(mem + 4 * PAGE), 'n');
}

static void policies_that_keep_nothing_serve_the_guest(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	/* The page was faulted in while shared, then shared, and taken back. */
	opts.to_shared = GMEM_ZERO;
	opts.to_private = GMEM_NONE;
	memset(mem + 3 * PAGE, 'o', PAGE);
	EXPECT(guest_ask(&vm, VM_DATA + 3 * PAGE, 1, false, &opts), 0);
	EXPECT(host_read(mem + 3 * PAGE), 0);
	EXPECT(guest_read(&vm, 3), 0);
	memset(mem + 3 * PAGE, 'p', PAGE);
	EXPECT(guest_read(&vm, 3), 'p');
	EXPECT(guest_ask(&vm, VM_DATA + 3 * PAGE, 1, true, &opts), 0);
	EXPECT(try_host_read(mem + 3 * PAGE), SIGBUS_READ);
	guest_write(&vm, 3, 'q');
	EXPECT(guest_read(&vm, 3), 'q');
}

static void default_policies_keep_what_the_guest_shares(void)
{
	struct gmem_convert_opts defaults = GMEM_CONVERT_OPTS;

	/* Whether a page is faulted in by sharing it or before, and there and back. */
	memset(mem + 3 * PAGE, 'o', PAGE);
	EXPECT(guest_ask(&vm, VM_DATA + 3 * PAGE, 1, false, &defaults), 0);
	EXPECT(host_read(mem + 3 * PAGE), 'o');
	EXPECT(guest_read(&vm, 3), 'o');
	memset(mem + 3 * PAGE, 'p', PAGE);
	EXPECT(guest_ask(&vm, VM_DATA + 3 * PAGE, 1, true, &defaults), 0);
	EXPECT(guest_read(&vm, 3), 'p');
	EXPECT(try_host_read(mem + 3 * PAGE), SIGBUS_READ);
	guest_write(&vm, 3, 'q');
	EXPECT(guest_ask(&vm, VM_DATA + 3 * PAGE, 1, false, &defaults), 0);
	EXPECT(host_read(mem + 3 * PAGE), 'q');
}

static void addresses_of_a_slot_that_stays_are_kept(void)
{
	uint8_t *before = mem;

	/*
	 * The guest has run, so KVM keeps its slots, and nothing else may be mapped under
	 * them.
	 */
	guest_agree(&vm, 0, 1);
	memset(mem, 'x', PAGE);
	gmem_destroy(gmem);
	gmem = vm_memory(&vm, SIZE, GMEM_SHARED, 2, VM_DATA + 2 * SIZE, &mem);
	EXPECT(mem + SIZE <= before || before + SIZE <= mem, true);
}

#define CONSENT(function, shared, private) \
	PROMISE("consent", function, IN_PLACE, shared, private, .must_agree = true)

static const struct promise promises[] = {
	CONSENT(page_that_the_guest_shares_keeps_bytes_both_ways, P, P),
	CONSENT(guest_that_touches_a_shared_page_asks_for_it, P, P),
	CONSENT(to_shared_without_consent_is_refused_where_it_is, P, P),
	CONSENT(consent_is_for_one_page, P, P),
	CONSENT(consent_is_taken_back_by_unsharing, P, P),
	CONSENT(unsharing_waits_while_the_host_holds_the_page, P, P),
	CONSENT(request_that_is_not_granted_comes_again, P, P),
	CONSENT(policies_that_keep_nothing_serve_the_guest, Z, N),
	CONSENT(default_policies_keep_what_the_guest_shares, P, P),
	CONSENT(addresses_of_a_slot_that_stays_are_kept, P, P),
};

const struct promises check_consent = { promises, sizeof(promises) / sizeof(promises[0]) };
