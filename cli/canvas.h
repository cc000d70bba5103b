/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Where a picture is painted; map_image.c says what, map_svg.c and map_png.c how. */
#ifndef GMEM_CANVAS_H
#define GMEM_CANVAS_H

#include "map.h"

struct canvas {
	unsigned int width;
	unsigned int height;
	/* A box in the colour of a cell; @title describes it when pointed at. */
	void (*box)(struct canvas *canvas, unsigned int x, unsigned int y, unsigned int width,
		    unsigned int height, enum cell kind, const char *title);
	/* Its upper left corner is at @x, @y. */
	void (*text)(struct canvas *canvas, unsigned int x, unsigned int y, const char *text);
};

/* Pixels that a letter takes, with what separates it from the next one, and how high it is. */
#define CANVAS_LETTER	12u
#define CANVAS_TEXT	14u

/* Its width and height, before it is painted. */
void map_measure(struct canvas *canvas, const struct picture *pictures, size_t nr);
void map_paint(struct canvas *canvas, const struct picture *pictures, size_t nr);

#endif
