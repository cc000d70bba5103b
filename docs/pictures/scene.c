// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A VM for the pictures: its guest keeps some memory, and converts pieces of it to and
 * fro.  With "hold" a page of it is registered with io_uring, and refuses.
 *
 *   scene NAME MIB CONVERSIONS_PER_SECOND [hold]
 */
#include <linux/io_uring.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../../examples/vm.h"

#define MIB		(1ul << 20)
#define MAX_ORDER	9
#define PIECES		64
#define HELD		(5 * PAGE)

static struct gmem *ram;
static uint64_t size;

/* The same pieces in every picture. */
static uint64_t number(uint64_t limit)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % limit;
}

/* What the guest shares now, the oldest first from @next on. */
static struct piece {
	uint64_t offset;
	uint64_t size;
} pieces[PIECES];
static unsigned int next;

static void share_a_piece(void)
{
	struct piece *piece = &pieces[next++ % PIECES];

	piece->size = PAGE << number(MAX_ORDER + 1);
	piece->offset = size / 2 + number(size / 2 / piece->size) * piece->size;
	check(gmem_convert(ram, piece->offset, piece->size, GMEM_SHARED, NULL, NULL), "to shared");
}

static void take_a_piece_back(void)
{
	struct piece *piece = &pieces[next % PIECES];

	check(gmem_convert(ram, piece->offset, piece->size, GMEM_PRIVATE, NULL, NULL),
	      "to private");
}

static void make_memory(const char *name)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_vm *memories;
	struct vm vm;
	unsigned int i;

	prctl(PR_SET_NAME, name);
	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	opts.mechanism = GMEM_IN_PLACE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, size, NULL, &ram), "gmem_create");
	check(gmem_bind(ram, 1, 1ul << 32, 0, size, NULL), "gmem_bind");
	/* Firmware and kernel first; what lies above is private but for some pieces. */
	check(gmem_convert(ram, MIB, size - MIB, GMEM_PRIVATE, NULL, NULL), "gmem_convert");
	for (i = 0; i < PIECES; i++)
		share_a_piece();
}

static void hold_a_page(char *hva)
{
	struct iovec iov = { .iov_base = hva + HELD, .iov_len = PAGE };
	struct io_uring_params params = {};
	int ring = syscall(SYS_io_uring_setup, 1, &params);

	check(sys(ring), "io_uring_setup");
	check(sys(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1)),
	      "IORING_REGISTER_BUFFERS");
}

int main(int argc, char **argv)
{
	bool hold = argc > 4;
	unsigned long rate, i;
	void *hva;
	int r;

	if (argc < 4) {
		fputs("usage: scene NAME MIB CONVERSIONS_PER_SECOND [hold]\n", stderr);
		return 2;
	}
	size = strtoul(argv[2], NULL, 0) * MIB;
	rate = strtoul(argv[3], NULL, 0);
	make_memory(argv[1]);
	check(gmem_map(ram, NULL, &hva), "gmem_map");
	/* The guest's devices use what it shares. */
	memset(hva, 's', MIB);
	if (hold)
		hold_a_page(hva);

	for (i = 0;; i++) {
		usleep(1000000 / rate);
		if (hold && i % 8 == 0) {
			r = gmem_convert(ram, HELD, PAGE, GMEM_PRIVATE, NULL, NULL);
			check(r == -EAGAIN ? 0 : EPROTO, "a page that is held");
		} else if (i % 2) {
			share_a_piece();
		} else {
			take_a_piece_back();
		}
	}
}
