// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "own.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

struct own own;
struct gmem *gmem;
struct gmem_adopt_opts opts;
struct gmem_bind_opts no_slot;
struct picture picture;
static unsigned int files_before;

int make_guest_memfd(uint64_t size, uint64_t flags)
{
	struct kvm_create_guest_memfd args = { .size = size, .flags = flags };

	return ioctl(fake.vm_fd, KVM_CREATE_GUEST_MEMFD, &args);
}

bool in_place(void)
{
	return gmem_vm_probe(vm)->mechanism != GMEM_TWO_BACKINGS;
}

void start_own(enum gmem_mechanism mechanism)
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

int adopt(void)
{
	return gmem_adopt(vm, SIZE, own.private_fd, own.shared_fd, &opts, &gmem);
}

void stop_own(void)
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

uint64_t private_pages(void)
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
