// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Memories that the VMM made itself: its files, its mapping, its slots.  The library converts
 * them in all mechanisms, with the states that they have, and takes nothing away.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_abi.h"
#include "unit_vm.h"

#define NR_PAGES	16u
#define SIZE		(NR_PAGES * PAGE)

/* What a VMM has. */
static struct {
	int private_fd;
	/* The same in place. */
	int shared_fd;
	char *hva;
} own;
static struct gmem *gmem;
static struct gmem_adopt_opts opts;
static struct gmem_bind_opts no_slot;
static struct picture picture;
static unsigned int files_before;

static int make_guest_memfd(uint64_t size, uint64_t flags)
{
	struct kvm_create_guest_memfd args = { .size = size, .flags = flags };

	return ioctl(fake.vm_fd, KVM_CREATE_GUEST_MEMFD, &args);
}

static bool in_place(void)
{
	return gmem_vm_probe(vm)->mechanism != GMEM_TWO_BACKINGS;
}

/* Files and a mapping, all shared, and a VM of the library without memories. */
static void start_own(enum gmem_mechanism mechanism)
{
	struct gmem_vm_opts vm_opts = GMEM_INIT(struct gmem_vm_opts);

	files_before = open_files();
	vm_opts.vm_type = SW_PROTECTED_VM;
	vm_opts.mechanism = mechanism;
	assert_int_equal(gmem_vm_init(fake.vm_fd, &vm_opts, &vm), 0);
	if (in_place()) {
		own.private_fd = make_guest_memfd(SIZE, GUEST_MEMFD_FLAG_MMAP |
						  GUEST_MEMFD_FLAG_INIT_SHARED);
		own.shared_fd = own.private_fd;
	} else {
		own.private_fd = make_guest_memfd(SIZE, 0);
		own.shared_fd = memfd_create("own", MFD_CLOEXEC);
		assert_int_equal(ftruncate(own.shared_fd, SIZE), 0);
	}
	own.hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, own.shared_fd, 0);
	assert_ptr_not_equal(own.hva, MAP_FAILED);
	opts = GMEM_INIT(struct gmem_adopt_opts);
	opts.hva = own.hva;
	no_slot = GMEM_INIT(struct gmem_bind_opts);
	no_slot.flags = GMEM_NO_SLOT;
	picture_init(&picture, vm, GMEM_LISTENER_REPLAY, false);
	assert_int_equal(gmem_add_listener(vm, &picture.listener), 0);
	gmem = NULL;
}

static int adopt(void)
{
	return gmem_adopt(vm, SIZE, own.private_fd, own.shared_fd, &opts, &gmem);
}

/* And nothing of the VMM's is gone. */
static void stop_own(void)
{
	gmem_destroy(gmem);
	gmem_vm_exit(vm);
	assert_string_equal(picture.wrong, "");
	assert_true(fcntl(own.private_fd, F_GETFD) >= 0);
	assert_true(fcntl(own.shared_fd, F_GETFD) >= 0);
	own.hva[SIZE - 1] = 'x';
	munmap(own.hva, SIZE);
	close(own.private_fd);
	if (own.shared_fd != own.private_fd)
		close(own.shared_fd);
	assert_int_equal(open_files(), files_before);
	fake_stop();
	fake_start();
}

/* Bits of pages that the library has as private. */
static uint64_t private_pages(void)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	uint64_t at, bits = 0;

	for (at = 0; at < gmem_size(gmem); at += range.size) {
		assert_int_equal(gmem_lookup(gmem, at, &range), 0);
		if (range.attributes == GMEM_PRIVATE)
			bits |= PAGES(at / PAGE, range.size / PAGE);
	}
	return bits;
}

#define FOR_EACH_MECHANISM(m) for (m = GMEM_TWO_BACKINGS; m <= GMEM_IN_PLACE; m++)

static void slots_of_the_vmm_convert_in_all_mechanisms(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;
	unsigned int calls;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		start_own(mechanism);
		assert_int_equal(adopt(), 0);
		/* Its halves, exchanged. */
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, SIZE / 2, SIZE / 2, &no_slot), 0);
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA + SIZE / 2, 0, SIZE / 2, &no_slot), 0);
		expect_told(&picture, "S0+8 S8+8");

		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 6 * PAGE, 4 * PAGE, GMEM_PRIVATE,
						  NULL, NULL), 0);
		assert_int_equal(private_pages(), PAGES(14, 2) | PAGES(0, 2));
		expect_told(&picture, "P6+2 P8+2");
		expect_picture(&picture);
		assert_int_equal(gmem_convert(gmem, 0, PAGE, GMEM_SHARED, NULL, NULL), 0);
		expect_picture(&picture);

		/* The second call of the kernel fails, and the first is undone. */
		calls = in_place() ? CALL_CONVERT : CALL_ATTRIBUTES;
		fake_fail(calls, in_place() ? 1 : 0, 1, ENOMEM);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, SIZE, GMEM_PRIVATE, NULL, &result),
				 -ENOMEM);
		assert_int_equal(result.left_size, 0);
		expect_picture(&picture);

		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		expect_picture(&picture);
		assert_int_equal(fake.calls[CALL_SLOT], 0);
		stop_own();
	}
}

/* In place the VM's ioctl would not find a slot that is not there yet. */
static void file_is_asked_where_the_slot_is_not_the_librarys(void **state)
{
	unsigned int before;

	(void)state;
	start_own(GMEM_IN_PLACE);
	assert_int_equal(adopt(), 0);
	assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA, 0, 4 * PAGE, NULL), 0);
	assert_int_equal(gmem_bind(gmem, 2, FAKE_GPA + 4 * PAGE, 4 * PAGE, 4 * PAGE, NULL), 0);
	assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA + 8 * PAGE, 8 * PAGE, 4 * PAGE, &no_slot), 0);
	assert_int_equal(gmem_bind(gmem, 3, FAKE_GPA + 12 * PAGE, 12 * PAGE, 4 * PAGE, NULL), 0);
	before = fake.calls[CALL_CONVERT];
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, SIZE, GMEM_PRIVATE, NULL, NULL), 0);
	/* Two slots together, the one that is not ours, and the last. */
	assert_int_equal(fake.calls[CALL_CONVERT] - before, 3);
	assert_int_equal(private_pages(), PAGES(0, 16));
	expect_picture(&picture);
	stop_own();
}

static void slots_can_be_the_librarys_all_the_same(void **state)
{
	struct gmem_bind_opts bind = GMEM_INIT(struct gmem_bind_opts);
	enum gmem_mechanism mechanism;
	void *hva;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		start_own(mechanism);
		assert_int_equal(adopt(), 0);
		assert_int_equal(gmem_map(gmem, NULL, &hva), 0);
		assert_ptr_equal(hva, own.hva);
		assert_int_equal(gmem_private_fd(gmem), own.private_fd);
		assert_int_equal(gmem_shared_fd(gmem), own.shared_fd);
		bind.slot_flags = 1;
		assert_int_equal(gmem_bind(gmem, 4, FAKE_GPA, PAGE, 2 * PAGE, &bind), 0);
		assert_int_equal(fake.slots[4].hva, (uintptr_t)own.hva + PAGE);
		assert_int_equal(fake.slots[4].fd, own.private_fd);
		assert_int_equal(fake.slots[4].flags, KVM_MEM_GUEST_MEMFD | 1);
		/* Its number is taken, but not for a slot that is not made. */
		assert_int_equal(gmem_bind(gmem, 4, FAKE_GPA + 4 * PAGE, 4 * PAGE, PAGE, NULL),
				 -EEXIST);
		assert_int_equal(gmem_bind(gmem, 4, FAKE_GPA + 4 * PAGE, 4 * PAGE, PAGE, &no_slot),
				 0);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA + 4 * PAGE, NULL), 0);
		assert_true(fake.slots[4].used);
		fake_fail(CALL_SLOT, 0, 1, EINVAL);
		assert_int_equal(gmem_bind(gmem, 5, FAKE_GPA + 4 * PAGE, 4 * PAGE, PAGE, NULL),
				 -EINVAL);
		stop_own();
	}
}

static void flags_that_make_no_sense_are_refused(void **state)
{
	struct gmem_bind_opts bind = GMEM_INIT(struct gmem_bind_opts);
	struct gmem_map_opts map = GMEM_INIT(struct gmem_map_opts);
	void *hva;

	(void)state;
	start_own(GMEM_IN_PLACE);
	assert_int_equal(adopt(), 0);
	bind.flags = 2;
	assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA, 0, PAGE, &bind), -EINVAL);
	bind.flags = GMEM_NO_SLOT;
	bind.slot_flags = 1;
	assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA, 0, PAGE, &bind), -EINVAL);
	bind.flags = 0;
	assert_int_equal(gmem_exclude(vm, FAKE_GPA, PAGE, &bind), -EINVAL);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, &bind), -EINVAL);
	assert_int_equal(gmem_exclude(vm, FAKE_GPA, PAGE, &no_slot), -EINVAL);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, &no_slot), -EINVAL);
	map.mmap_flags = MAP_PRIVATE;
	assert_int_equal(gmem_map(gmem, &map, &hva), -EINVAL);
	map.mmap_flags = MAP_ANONYMOUS;
	assert_int_equal(gmem_map(gmem, &map, &hva), -EINVAL);
	stop_own();
}

/* ---- States ------------------------------------------------------------------------- */

static void states_are_as_told(void **state)
{
	static const uint64_t patterns[] = { 0, 0xffff, 1, 0x8000, 0x5555, 0x0ff0, 0xfe7f };
	enum gmem_mechanism mechanism;
	unsigned int page;
	size_t i;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
			/* What is after the last page is nobody's. */
			uint64_t told = patterns[i] | (i % 2 ? ~0xffffull : 0);

			start_own(mechanism);
			opts.private_pages = &told;
			opts.attributes = i % 3 ? GMEM_PRIVATE : GMEM_SHARED;
			assert_int_equal(adopt(), 0);
			assert_int_equal(private_pages(), patterns[i]);
			/* With two backings they become the VM's. */
			assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, SIZE, &no_slot), 0);
			for (page = 0; page < NR_PAGES; page++)
				assert_int_equal(fake.vm_private[page],
						 !in_place() && (patterns[i] >> page & 1));
			stop_own();
		}
		start_own(mechanism);
		opts.attributes = GMEM_PRIVATE;
		assert_int_equal(adopt(), 0);
		assert_int_equal(private_pages(), 0xffff);
		gmem_destroy(gmem);
		assert_int_equal(gmem_adopt(vm, SIZE, own.private_fd, own.shared_fd, NULL, &gmem), 0);
		assert_int_equal(private_pages(), 0);
		stop_own();
	}
}

/* More than a word, and more than a chunk of the states. */
static void many_pages_are_as_told(void **state)
{
	const uint64_t nr = 40000;
	static uint64_t told[625];
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	uint64_t at, page;
	int fd, shared;

	(void)state;
	start_own(GMEM_TWO_BACKINGS);
	for (page = 0; page < nr; page++) {
		if (page % 300 < 200 || page > 35000)
			told[page / 64] |= 1ull << (page % 64);
	}
	fd = make_guest_memfd(nr * PAGE, 0);
	shared = memfd_create("many", MFD_CLOEXEC);
	assert_int_equal(ftruncate(shared, nr * PAGE), 0);
	opts.hva = NULL;
	opts.private_pages = told;
	assert_int_equal(gmem_adopt(vm, nr * PAGE, fd, shared, &opts, &gmem), 0);
	for (at = 0; at < nr * PAGE; at += range.size) {
		assert_int_equal(gmem_lookup(gmem, at, &range), 0);
		for (page = at / PAGE; page < (at + range.size) / PAGE; page++)
			assert_int_equal(range.attributes == GMEM_PRIVATE,
					 page % 300 < 200 || page > 35000);
	}
	close(fd);
	close(shared);
	stop_own();
}

static void states_are_the_kernels(void **state)
{
	enum gmem_mechanism mechanism;
	struct fake_file *file;
	unsigned int page;

	(void)state;
	for (mechanism = GMEM_IN_PLACE_PLAIN; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_own(mechanism);
		file = fake_file(own.private_fd);
		for (page = 0; page < NR_PAGES; page++)
			file->is_private[page] = page % 3 == 1 || page > 12;
		opts.flags = GMEM_ASK_KERNEL;
		/* Which was wrong. */
		opts.attributes = GMEM_PRIVATE;
		assert_int_equal(adopt(), 0);
		assert_int_equal(private_pages(), 0xe492);
		assert_int_equal(gmem_verify(gmem, NULL), 0);
		/* Nobody hears of it before it is bound. */
		expect_told(&picture, "");
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, SIZE, &no_slot), 0);
		expect_picture(&picture);
		gmem_destroy(gmem);

		/* A part of the file, which ends in the middle of a range. */
		file->is_private[14] = file->is_private[15] = false;
		assert_int_equal(gmem_adopt(vm, 15 * PAGE, own.private_fd, -1, &opts, &gmem), 0);
		assert_int_equal(private_pages(), 0x2492);
		assert_int_equal(gmem_verify(gmem, NULL), 0);
		stop_own();
	}
}

static void kernel_that_cannot_say_is_an_error(void **state)
{
	(void)state;
	start_own(GMEM_TWO_BACKINGS);
	opts.flags = GMEM_ASK_KERNEL;
	assert_int_equal(adopt(), -EOPNOTSUPP);
	assert_null(gmem);
	stop_own();

	start_own(GMEM_IN_PLACE);
	opts.flags = GMEM_ASK_KERNEL;
	fake.get_pages = 4;
	fake_fail(CALL_GET, 2, 1, EIO);
	assert_int_equal(adopt(), -EIO);
	assert_null(gmem);
	fake.knows_get = false;
	assert_int_equal(adopt(), -EOPNOTSUPP);
	assert_null(gmem);
	opts.flags = 0;
	assert_int_equal(adopt(), 0);
	stop_own();
}

/* ---- What is refused ----------------------------------------------------------------- */

static void wrong_files_are_refused(void **state)
{
	enum gmem_mechanism mechanism;
	int memfd = memfd_create("no guest", MFD_CLOEXEC), fd;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		start_own(mechanism);
		fd = own.private_fd;
		assert_int_equal(gmem_adopt(vm, SIZE, -1, own.shared_fd, &opts, &gmem), -EBADF);
		assert_null(gmem);
		assert_int_equal(gmem_adopt(vm, SIZE + PAGE, fd, own.shared_fd, &opts, &gmem),
				 -EINVAL);
		assert_int_equal(gmem_adopt(vm, 0, fd, own.shared_fd, &opts, &gmem), -EINVAL);
		assert_int_equal(gmem_adopt(vm, 1, fd, own.shared_fd, &opts, &gmem), -EINVAL);
		opts.attributes = 1;
		assert_int_equal(adopt(), -EINVAL);
		opts.attributes = 0;
		opts.flags = 2;
		assert_int_equal(adopt(), -EINVAL);
		opts.flags = 0;
		opts.hva = own.hva + 1;
		assert_int_equal(adopt(), -EINVAL);
		opts.hva = NULL;
		opts.shared_offset = 1;
		assert_int_equal(adopt(), -EINVAL);
		opts.shared_offset = PAGE;
		assert_int_equal(adopt(), -EINVAL);
		opts.shared_offset = -PAGE;
		assert_int_equal(adopt(), -EINVAL);
		opts.shared_offset = 0;
		/* The other file is too small as well, or is not the same. */
		assert_int_equal(gmem_adopt(vm, SIZE, fd, memfd, &opts, &gmem), -EINVAL);
		if (in_place()) {
			assert_int_equal(ftruncate(memfd, SIZE), 0);
			assert_int_equal(gmem_adopt(vm, SIZE, memfd, -1, &opts, &gmem), -ENOTTY);
			assert_int_equal(ftruncate(memfd, 0), 0);
		} else {
			assert_int_equal(gmem_adopt(vm, SIZE, fd, 1000, &opts, &gmem), -EBADF);
			/* Nothing that the shared half could be in. */
			assert_int_equal(gmem_adopt(vm, SIZE, fd, -1, &opts, &gmem), -EINVAL);
		}
		assert_null(gmem);
		/* The tables of the states. */
		fake_fail(CALL_MMAP, 1, 1, ENOMEM);
		assert_int_equal(adopt(), -ENOMEM);
		assert_null(gmem);
		assert_int_equal(adopt(), 0);
		stop_own();
	}
	close(memfd);
}

/* ---- The mapping and the shared half ---------------------------------------------------- */

static void library_maps_what_is_not_mapped(void **state)
{
	struct gmem_map_opts map = GMEM_INIT(struct gmem_map_opts);
	enum gmem_mechanism mechanism;
	unsigned char resident[NR_PAGES];
	void *place, *hva;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		start_own(mechanism);
		opts.hva = NULL;
		assert_int_equal(adopt(), 0);
		/* A slot of the VMM's needs no mapping of the library's. */
		fake_fail(CALL_MMAP, 0, 1, ENOMEM);
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, PAGE, &no_slot), 0);
		assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA + PAGE, PAGE, PAGE, NULL), -ENOMEM);
		/* Where the VMM has kept a place for it. */
		place = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		map.address = place;
		map.mmap_flags = MAP_FIXED;
		assert_int_equal(gmem_map(gmem, &map, &hva), 0);
		assert_ptr_equal(hva, place);
		assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA + PAGE, PAGE, PAGE, NULL), 0);
		assert_int_equal(fake.slots[1].hva, (uintptr_t)place + PAGE);
		gmem_destroy(gmem);
		gmem = NULL;
		/* That mapping was the library's. */
		assert_int_equal(mincore(place, SIZE, resident), -1);
		stop_own();
	}
}

static void shared_half_may_begin_later_in_its_file(void **state)
{
	void *hva;

	(void)state;
	start_own(GMEM_TWO_BACKINGS);
	assert_int_equal(ftruncate(own.shared_fd, 3 * SIZE), 0);
	opts.hva = NULL;
	opts.shared_offset = SIZE;
	assert_int_equal(adopt(), 0);
	assert_int_equal(gmem_map(gmem, NULL, &hva), 0);
	*(char *)hva = 'x';
	assert_int_equal(own.hva[0], 0);
	assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, SIZE, &no_slot), 0);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 2 * PAGE, 3 * PAGE, GMEM_PRIVATE, NULL,
					  NULL), 0);
	assert_int_equal(fake.hole.fd, own.shared_fd);
	assert_int_equal(fake.hole.offset, SIZE + 2 * PAGE);
	assert_int_equal(fake.hole.size, 3 * PAGE);
	/* The private half begins at its beginning. */
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 2 * PAGE, PAGE, GMEM_SHARED, NULL, NULL), 0);
	assert_int_equal(fake.hole.fd, own.private_fd);
	assert_int_equal(fake.hole.offset, 2 * PAGE);
	stop_own();
}

/* Of a process, and of several: the kernel wants different words for them. */
static void shared_half_may_be_anonymous(void **state)
{
	static const int kinds[] = { MAP_PRIVATE, MAP_SHARED };
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	char *hva;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		start_own(GMEM_TWO_BACKINGS);
		hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, kinds[i] | MAP_ANONYMOUS, -1, 0);
		opts.hva = hva;
		assert_int_equal(gmem_adopt(vm, SIZE, own.private_fd, -1, &opts, &gmem), 0);
		assert_int_equal(gmem_shared_fd(gmem), -1);
		assert_int_equal(gmem_bind(gmem, 3, FAKE_GPA, 0, SIZE, NULL), 0);
		assert_int_equal(fake.slots[3].hva, (uintptr_t)hva);
		memset(hva, 'x', SIZE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + PAGE, 2 * PAGE, GMEM_PRIVATE,
						  NULL, NULL), 0);
		assert_int_equal(hva[PAGE], 0);
		assert_int_equal(hva[3 * PAGE - 1], 0);
		assert_int_equal(hva[PAGE - 1], 'x');
		assert_int_equal(hva[3 * PAGE], 'x');

		/* Somebody wrote to what is not the guest's; the host reads zeros still. */
		memset(hva + PAGE, 'y', 2 * PAGE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, SIZE, GMEM_SHARED, NULL, NULL), 0);
		assert_int_equal(hva[PAGE], 0);
		assert_int_equal(hva[3 * PAGE - 1], 0);
		assert_int_equal(hva[PAGE - 1], 'x');
		expect_picture(&picture);

		/* What cannot be given back is no failure; what cannot be emptied is. */
		fake_fail(CALL_MADVISE, 0, 1, ENOMEM);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, 4 * PAGE, GMEM_PRIVATE, NULL,
						  &result), 0);
		assert_int_equal(result.undiscarded, 4 * PAGE);
		fake_fail(CALL_MADVISE, 0, 2, EINVAL);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, 4 * PAGE, GMEM_SHARED, NULL,
						  &result), -EINVAL);
		assert_int_equal(result.step, GMEM_STEP_PREPARE);
		assert_int_equal(private_pages(), 0xf);
		expect_picture(&picture);
		gmem_destroy(gmem);
		gmem = NULL;
		hva[0] = 'x';
		munmap(hva, SIZE);
		stop_own();
	}
}

static void mapping_of_the_vmm_stays_under_a_slot_that_stays(void **state)
{
	(void)state;
	start_own(GMEM_IN_PLACE);
	assert_int_equal(adopt(), 0);
	assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA, 0, SIZE, NULL), 0);
	own.hva[0] = 'k';
	fake_fail(CALL_SLOT, 0, 2, EPERM);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), -EPERM);
	gmem_destroy(gmem);
	gmem = NULL;
	assert_int_equal(own.hva[0], 'k');
	stop_own();
}

const struct CMUnitTest adopt_cases[] = {
	CASE(slots_of_the_vmm_convert_in_all_mechanisms),
	CASE(file_is_asked_where_the_slot_is_not_the_librarys),
	CASE(slots_can_be_the_librarys_all_the_same),
	CASE(flags_that_make_no_sense_are_refused),
	CASE(states_are_as_told),
	CASE(many_pages_are_as_told),
	CASE(states_are_the_kernels),
	CASE(kernel_that_cannot_say_is_an_error),
	CASE(wrong_files_are_refused),
	CASE(library_maps_what_is_not_mapped),
	CASE(shared_half_may_begin_later_in_its_file),
	CASE(shared_half_may_be_anonymous),
	CASE(mapping_of_the_vmm_stays_under_a_slot_that_stays),
	{},
};
