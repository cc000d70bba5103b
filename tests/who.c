// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: a page that is held in each possible way, and what "gmem who"
 * says of it.  TAP.  The command is beside this program.
 */
#include "../examples/edu.h"
#include "../examples/vm.h"
#include "command.h"
#include "holders.h"
#include "tap.h"

#define PAGES	8ul
/* The page to ask about. */
#define HELD	5ul

static struct vm vm;
static struct gmem_vm *memories;
static struct gmem *ram;
static char *hva;

/* Does it name this process, with @kind and @sure?  Without these: does it name nobody? */
static bool who_says(const char *kind, const char *sure)
{
	char file[32], offset[32], expected[128];

	snprintf(file, sizeof(file), "%d:%d", getpid(), gmem_private_fd(ram));
	snprintf(offset, sizeof(offset), "0x%lx", HELD * PAGE);
	snprintf(expected, sizeof(expected), "\"pid\": %d, \"name\": \"who\", \"kind\": \"%s\", \"sure\": \"%s\"",
		 getpid(), kind ? kind : "", sure ? sure : "");
	check(RUN("who", "--wait", "0", file, offset, "--json") ? EPROTO : 0, "gmem who");
	show_output();
	return kind ? lines_with(expected, "") : !lines_with("\"kind\"", "");
}

/* Does the page keep the memory from becoming private? */
static bool is_held(void)
{
	struct gmem_result where = GMEM_INIT(struct gmem_result);
	int r = gmem_convert(ram, 0, PAGES * PAGE, GMEM_PRIVATE, NULL, &where);

	if (r)
		return r == -EAGAIN && where.where == HELD * PAGE;
	check(gmem_convert(ram, 0, PAGES * PAGE, GMEM_SHARED, NULL, NULL), "to shared");
	return false;
}

static void make_memory(void)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	void *mem;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, PAGES * PAGE, NULL, &ram), "gmem_create");
	check(gmem_map(ram, NULL, &mem), "gmem_map");
	hva = mem;
}

static void nobody(void)
{
	result(!is_held() && who_says(NULL, NULL), "nobody_holds_what_nobody_touched");
}

static void mapping(void)
{
	hva[HELD * PAGE] = 'm';
	result(who_says("mapped", "no holder") && !is_held(), "mapping_is_named_and_no_obstacle");
}

static void pipe_with_page(void)
{
	int ends[2];

	hva[HELD * PAGE] = 'p';
	hold_in_pipe(hva + HELD * PAGE, ends);
	result(is_held() && who_says("pipe", "likely"), "pipe_is_likely");
	close(ends[0]);
	close(ends[1]);
	result(!is_held() && !who_says("pipe", "likely"), "pipe_that_is_closed_is_not_named");
}

static void registered_buffer(void)
{
	int ring = hold_in_ring(hva + HELD * PAGE, 3);

	result(is_held() && who_says("io_uring", "likely"), "registered_buffer_is_likely");
	close(ring);
}

static void vhost(void)
{
	int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

	check(sys(fd), "/dev/vhost-net");
	hva[HELD * PAGE] = 'v';
	result(who_says("vhost", "guess"), "vhost_is_a_guess");
	close(fd);
}

/* An IOMMU that has only the one page, as only that is shared. */
static void iommu(const char *kind, const char *bdf,
		  int (*open_device)(const char *bdf, struct gmem_iommu_opts *opts))
{
	struct gmem_iommu_opts opts = GMEM_INIT(struct gmem_iommu_opts);
	struct gmem_iommu *mapped;
	int r;

	if (!plan_alone(2))
		return;

	make_memory();
	check(gmem_convert(ram, 0, HELD * PAGE, GMEM_PRIVATE, NULL, NULL), "to private");
	check(gmem_bind(ram, 1, DATA_GPA, 0, PAGES * PAGE, NULL), "gmem_bind");
	r = open_device(bdf, &opts);
	check(r < 0 ? r : 0, bdf);
	check(gmem_add_iommu(memories, &opts, &mapped), "gmem_add_iommu");
	result(who_says(kind, "likely"), "%s_is_likely", kind);
	check(gmem_remove_iommu(mapped), "gmem_remove_iommu");
	result(!who_says(kind, "likely") && !is_held(), "%s_that_has_let_go_is_not_named", kind);
	end_alone();
}

int main(void)
{
	char bdf[256];

	plan("who", 10);
	check(edu_find(bdf, sizeof(bdf)), "QEMU's edu device");
	check(edu_give_to_vfio(bdf), "vfio-pci");

	make_memory();
	nobody();
	mapping();
	pipe_with_page();
	registered_buffer();
	vhost();
	iommu("vfio", bdf, edu_open_type1);
	iommu("iommufd", bdf, edu_open_iommufd);

	return exit_status();
}
