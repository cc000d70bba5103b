/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A screen that is refreshed in place on a capable terminal, and plain lines elsewhere.
 * Also ends a program that runs until the user presses q or a signal arrives.
 */
#ifndef GMEM_SCREEN_H
#define GMEM_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

/* Use plain lines if @plain.  Returns whether the screen is refreshed in place. */
bool screen_start(bool plain);

/* Restore the terminal. */
void screen_end(void);

/* Show @text, lines that end with a newline.  Exits if it cannot be written. */
void screen_show(const char *text, size_t size);

/* Wait.  False if the program is to end. */
bool screen_wait(double seconds);

#endif
