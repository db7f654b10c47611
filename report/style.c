/* The style of figures and of the page around them: one palette for light, one for dark, the light one on paper.
 * Colours of series are told apart by people with common colour blindness, and markers and dashes say the same
 * again. */
#include "svg.h"

#define LIGHT                                                                                                          \
    "--page:#fff;--ink:#1c2126;--soft:#59636e;--rule:#d5dae0;--wash:#f5f7f9;--heat:#0b4a86;--s0:#0065a3;--s1:#c04a00;" \
    "--s2:#00795a;--s3:#a8457f;--s4:#6a4fb3;--s5:#7d6200;--s6:#525c66;--s7:#0b7d90"
#define DARK                                                                                                       \
    "--page:#14181c;--ink:#e6eaee;--soft:#a3adb8;--rule:#333b44;--wash:#1c2228;--heat:#7cc0ff;--s0:#5fb4ee;--s1:#" \
    "ff9357;"                                                                                                      \
    "--s2:#43cb9e;--s3:#ee9fcd;--s4:#bda3fa;--s5:#dcbc42;--s6:#aeb8c2;--s7:#55cbe0"

#define COLOUR(n) ".s" #n "{--c:var(--s" #n ")}"

const char ql_figure_style[] =
    ":root{" LIGHT "}"
    "@media (prefers-color-scheme:dark){:root{" DARK "}}"
    "@media print{:root{" LIGHT "}}"
    "svg{font:12px system-ui,sans-serif;fill:var(--ink)}"
    "svg path{fill:none;stroke:none}"
    ".axis text{fill:var(--soft);font-variant-numeric:tabular-nums}"
    ".axis path{stroke:var(--rule)}.axis path.line{stroke:var(--soft)}"
    "svg path.marks{fill:var(--c);stroke:var(--page);stroke-width:.8}"
    "svg path.lines{stroke:var(--c);stroke-width:1.6;stroke-linejoin:round}"
    "svg path.front{stroke:var(--soft);stroke-width:1.2;stroke-dasharray:2 3}"
    ".level path{stroke:var(--ink);stroke-dasharray:6 4}.level text{fill:var(--ink)}"
    ".hint{fill:transparent}.hint:hover{fill:var(--ink);fill-opacity:.15}"
    ".bar{fill:var(--c)}.cell{fill:var(--heat)}.none{fill:none;stroke:var(--rule)}"
    ".small{font-size:11px;fill:var(--soft)}"
    "svg path.edge{stroke:var(--soft);stroke-opacity:.55}.box{fill:var(--wash);stroke:var(--c)}" COLOUR(0) COLOUR(1)
        COLOUR(2) COLOUR(3) COLOUR(4) COLOUR(5) COLOUR(6) COLOUR(7);

const char ql_page_style[] =
    "*{box-sizing:border-box}"
    "html{color-scheme:light dark;-webkit-text-size-adjust:100%}"
    "body{margin:0 auto;padding:1.5rem clamp(.8rem,3vw,2.5rem) 4rem;max-width:82rem;background:var(--page);"
    "color:var(--ink);font:1rem/1.5 system-ui,sans-serif}"
    "h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.2rem;margin:2.2rem 0 .6rem}"
    ".facts{color:var(--soft);margin:.3rem 0 0}.remark,.notes{color:var(--soft);font-size:.875rem;margin:.4rem 0}"
    ".notes{padding-left:1.6rem}"
    ".scroll{overflow-x:auto}"
    "table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;color:var(--soft);padding-bottom:.3rem}"
    "th,td{padding:.28rem .7rem;text-align:left;white-space:nowrap;font-weight:400;border-bottom:1px solid var(--rule)}"
    "thead th{font-weight:600;border-bottom:2px solid var(--soft);vertical-align:bottom}"
    "tbody tr:hover{background:var(--wash)}.n{text-align:right}.original{background:var(--wash)}"
    "em{color:var(--s1);font-style:normal}strong{font-weight:700}.pm{color:var(--soft)}sup{line-height:0;color:var(--"
    "soft)}"
    ".figures{columns:34rem 2;column-gap:2.5rem}.figures>section{break-inside:avoid;display:flow-root}"
    ".figures h2{margin-top:1.6rem}"
    "figure{margin:0}figure .scroll>svg{display:block;width:100%;height:auto;max-width:38rem}"
    ".wide .scroll>svg{width:auto;max-width:none}.wide figure>.scroll{max-height:44rem;overflow:auto}"
    "figcaption{color:var(--soft);font-size:.875rem;margin:.5rem 0;max-width:44rem}"
    "details{font-size:.9rem;margin:.3rem 0}summary{cursor:pointer;color:var(--s0);width:fit-content}"
    "details .scroll{max-height:24rem;overflow:auto;margin-top:.4rem}"
    "footer{margin-top:3rem;color:var(--soft);font-size:.875rem}"
    "@media print{html{color-scheme:light}body{max-width:none;padding:0;font-size:9.5pt}details{display:none}"
    "figure,tr,.figures>section{break-inside:avoid}h2{break-after:avoid}.scroll{overflow:visible}th,td{white-space:"
    "normal}"
    ".figures{columns:auto}figure .scroll>svg{width:auto;max-width:26rem;max-height:21cm}.wide "
    ".scroll>svg{max-width:100%}.wide "
    "figure>.scroll{max-height:none}}";
