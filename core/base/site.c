/* Where the work is, and the page that says which plugin is called there. Nothing of the page is read here. */
#include <fenv.h>
#include <stdio.h>

#include <qloom/job.h>

#include "clock.h"
#include "ctx.h"

static void
put(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text ? text : "");
}

static void
write_page(ql_job_page *page, const ql_site *site)
{
    put(page->plugin, sizeof page->plugin, site->plugin);
    put(page->stage, sizeof page->stage, site->name);
    put(page->cell, sizeof page->cell, site->cells);
    put(page->linear, sizeof page->linear, site->linear);
    page->node[0] = site->node[0];
    page->node[1] = site->node[1];
    page->block = site->block;
    page->since = ql_seconds();
}

/* `calling` is 0 while the rest changes, and while no plugin is called. What a plugin, or a library that was loaded for it, has set of the
 * thread's arithmetic (rounding, numbers near zero taken for zero) is none of the next one's. */
static void
move_to(ql_ctx *cx, ql_site site)
{
    (void)fesetenv(FE_DFL_ENV);
    cx->site = site;
    if (!cx->page)
        return;
    __atomic_store_n(&cx->page->calling, 0, __ATOMIC_SEQ_CST);
    if (!site.plugin)
        return;
    write_page(cx->page, &site);
    __atomic_store_n(&cx->page->calling, 1, __ATOMIC_SEQ_CST);
}

ql_site
ql_enter(ql_ctx *cx, ql_site site)
{
    const ql_site before = cx->site;

    move_to(cx, site);
    return before;
}

ql_site
ql_enter_plugin(ql_ctx *cx, const char *plugin)
{
    ql_site site = cx->site;

    site.plugin = plugin;
    site.node[0] = site.node[1] = 0;
    return ql_enter(cx, site);
}

void
ql_leave(ql_ctx *cx, ql_site before)
{
    move_to(cx, before);
}
