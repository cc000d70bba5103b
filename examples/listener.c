// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A listener for something that holds what the guest shares: a back end in another
 * process, or, as here, a pipe for each page.  A page that is held cannot become private,
 * so the listener lets go before, and takes hold again after the page has come back.  For
 * an IOMMU the library has a listener, see vfio.c.
 */
#define _GNU_SOURCE
#include <gmem.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vm.h"

#define PAGES		4ul

struct back_end {
	struct gmem_listener listener;
	char *hva;
	int pipes[PAGES][2];
};

static void let_go(struct back_end *end, uint64_t page)
{
	close(end->pipes[page][0]);
	close(end->pipes[page][1]);
}

static int hold(struct back_end *end, uint64_t page)
{
	struct iovec iov = { .iov_base = end->hva + page * PAGE, .iov_len = PAGE };

	/* Reading allocates the page. */
	(void)*(volatile char *)iov.iov_base;
	if (pipe(end->pipes[page]))
		return -errno;
	if (vmsplice(end->pipes[page][1], &iov, 1, 0) != (ssize_t)PAGE) {
		let_go(end, page);
		return -EIO;
	}
	return 0;
}

static int before_private(struct gmem_listener *listener, const struct gmem_range *range)
{
	struct back_end *end = listener->arg;
	uint64_t page;

	printf("  lets go of    %#llx, %llu bytes\n",
	       (unsigned long long)range->gpa, (unsigned long long)range->size);
	for (page = range->offset / PAGE; page < (range->offset + range->size) / PAGE; page++)
		let_go(end, page);
	return 0;
}

static int after_shared(struct gmem_listener *listener, const struct gmem_range *range)
{
	struct back_end *end = listener->arg;
	uint64_t page, first = range->offset / PAGE;
	int r = 0;

	printf("  takes hold of %#llx, %llu bytes\n",
	       (unsigned long long)range->gpa, (unsigned long long)range->size);
	for (page = first; !r && page < first + range->size / PAGE; page++)
		r = hold(end, page);
	/* All of the range or nothing. */
	for (page -= r != 0; r && page-- > first; )
		let_go(end, page);
	return r;
}

int main(void)
{
	struct back_end end = { .listener = GMEM_INIT(struct gmem_listener) };
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_vm *memories;
	struct gmem *ram;
	struct vm vm;
	void *hva;
	int r;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, PAGES * PAGE, NULL, &ram), "gmem_create");
	check(gmem_map(ram, NULL, &hva), "gmem_map");

	end.hva = hva;
	check(hold(&end, 1), "hold");
	if (gmem_vm_probe(memories)->mechanism != GMEM_TWO_BACKINGS) {
		r = gmem_convert(ram, 0, PAGES * PAGE, GMEM_PRIVATE, NULL, &result);
		printf("without the listener: %s at %#llx\n", strerror(-r),
		       (unsigned long long)result.where);
		if (r != -EAGAIN || result.where != PAGE)
			return 1;
	}
	let_go(&end, 1);

	/*
	 * It is told of everything that is bound and shared, from the first page to the
	 * last.
	 */
	end.listener.before_private = before_private;
	end.listener.after_shared = after_shared;
	end.listener.flags = GMEM_LISTENER_REPLAY;
	end.listener.arg = &end;
	check(gmem_add_listener(memories, &end.listener), "gmem_add_listener");

	printf("the memory is bound:\n");
	check(gmem_bind(ram, 1, DATA_GPA, 0, PAGES * PAGE, NULL), "gmem_bind");
	printf("pages 1 and 2 to private:\n");
	check(gmem_convert_gpa(memories, DATA_GPA + PAGE, 2 * PAGE, GMEM_PRIVATE, NULL, NULL),
	      "to private");
	printf("pages 1 and 2 to shared:\n");
	check(gmem_convert_gpa(memories, DATA_GPA + PAGE, 2 * PAGE, GMEM_SHARED, NULL, NULL),
	      "to shared");
	printf("the listener is removed:\n");
	check(gmem_remove_listener(memories, &end.listener), "gmem_remove_listener");

	/* So nobody has a page any more. */
	check(gmem_convert(ram, 0, PAGES * PAGE, GMEM_PRIVATE, NULL, NULL), "all to private");
	gmem_destroy(ram);
	gmem_vm_exit(memories);
	return 0;
}
