/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * gmem map: the states of a memory as a picture, one cell for so many pages.
 *
 *	map_file.c, map_demo.c, map_vm.c	where the states come from
 *	map_picture.c				what is drawn: cells, and what a row is called
 *	map_terminal.c, map_json.c		letters and colours; for programs
 *	map_image.c, map_svg.c, map_png.c	the same on a canvas, and two of these
 *	cmd_map.c				the command line, and where it goes
 */
#ifndef GMEM_MAP_H
#define GMEM_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "guest_memfd.h"

/* So that a picture has 70 million pixels at most. */
#define MAP_MAX_COLUMNS	512

/* What the pages of a cell are. */
enum cell { NOTHING, SHARED, PRIVATE, BOTH, NR_CELL_KINDS };

struct map_look {
	const char *name;
	char letter;
	const char *ansi;
	uint8_t red, green, blue;
};

extern const struct map_look map_looks[NR_CELL_KINDS];

struct picture {
	/* Of what it is, or "". */
	char title[192];
	/* Whose guest_memfd it is; 0 if it is none. */
	pid_t pid;
	int fd;
	uint64_t start;
	uint64_t end;
	/* Bytes that a cell stands for. */
	uint64_t per_cell;
	/* enum cell, once the picture is finished. */
	uint8_t *cells;
	unsigned int nr_cells;
	unsigned int columns;
	unsigned int rows;
	/* Where guests see it. */
	struct guest_memfd_slots slots;
	/* How many more ranges of shared, of private, begin in a cell than end before it. */
	int *changes[2];
};

/*
 * A picture of [start, end), in at most as many rows as columns; then its ranges, in any
 * order, even one over the other.  That takes as long as there are ranges and cells,
 * however large they are.
 */
void picture_begin(struct picture *picture, uint64_t start, uint64_t end, unsigned int columns);
void picture_add(struct picture *picture, uint64_t start, uint64_t end, bool is_private);
void picture_finish(struct picture *picture);
void picture_free(struct picture *picture);

/* Offset, and guest physical address if it has any, of where a row begins; in a static buffer. */
const char *picture_row_label(const struct picture *picture, unsigned int row);
/* What stands above these labels, of the same length. */
const char *picture_heading(const struct picture *picture);
/* "4 KiB a cell, ..."; in a static buffer. */
const char *picture_scale(const struct picture *picture);
/* Line @i of where it is bound, from 0 on, in a static buffer; NULL after the last. */
const char *picture_slot_label(const struct picture *picture, size_t i);

void map_file(struct picture *picture, const char *name, unsigned int columns);
void map_demo(struct picture *picture, unsigned int columns);

/*
 * All guest_memfds of a process, or one if @fd is not -1: their number, or 0 and what
 * stands against it, with errno 0 if the kernel lacks it, ESRCH if there is none.
 */
size_t map_vm(pid_t pid, int fd, unsigned int columns, struct picture **pictures, const char **problem);

void map_print(FILE *to, const struct picture *pictures, size_t nr, bool colours);
void map_print_json(FILE *to, const struct picture *pictures, size_t nr);
void map_draw_svg(FILE *to, const struct picture *pictures, size_t nr);
void map_draw_png(FILE *to, const struct picture *pictures, size_t nr);

#endif
