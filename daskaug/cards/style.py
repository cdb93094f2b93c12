"""How cards look: light and dark, and nothing but these rules."""

from __future__ import annotations

import zlib

_RULES = """
SCOPE{--dk-ink-own:#1f2328;--dk-dim-own:#59636e;--dk-paper-own:#ffffff;--dk-head-own:#f3f5f7;--dk-edge-own:#d1d9e0}
@media (prefers-color-scheme:dark){SCOPE{DARK}}
body[data-jp-theme-light="true"] SCOPE,body.vscode-light SCOPE,html[theme="light"] SCOPE,html[data-theme="light"] SCOPE\
{--dk-ink-own:#1f2328;--dk-dim-own:#59636e;--dk-paper-own:#ffffff;--dk-head-own:#f3f5f7;--dk-edge-own:#d1d9e0}
body[data-jp-theme-light="false"] SCOPE,body.vscode-dark SCOPE,html[theme="dark"] SCOPE,html[data-theme="dark"] SCOPE\
{DARK}
SCOPE{--dk-ink:var(--jp-content-font-color1,var(--vscode-editor-foreground,var(--dk-ink-own)));\
--dk-dim:var(--jp-content-font-color2,var(--vscode-descriptionForeground,var(--dk-dim-own)));\
--dk-paper:var(--jp-layout-color1,var(--vscode-editor-background,var(--dk-paper-own)));\
--dk-head:var(--jp-layout-color2,var(--vscode-editorWidget-background,var(--dk-head-own)));\
--dk-edge:var(--jp-border-color2,var(--vscode-widget-border,var(--dk-edge-own)));\
box-sizing:border-box;display:block;width:fit-content;max-width:100%;margin:4px 0;border:1px solid var(--dk-edge);\
border-radius:6px;overflow:hidden;background:var(--dk-paper);color:var(--dk-ink);text-align:left;\
font:13px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
SCOPE *{box-sizing:border-box}
SCOPE .dk-head{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 8px;padding:5px 12px;\
background:var(--dk-head);border-bottom:1px solid var(--dk-edge)}
SCOPE .dk-title{font-weight:600;overflow-wrap:anywhere;min-width:0}
SCOPE .dk-state{padding:0 8px;border-radius:9px;font-size:11px;line-height:18px;font-weight:600;color:#ffffff;\
background:#57606a;max-width:100%;overflow-wrap:anywhere}
SCOPE .dk-good{background:#1a7f37}
SCOPE .dk-bad{background:#c4232b}
SCOPE .dk-body{display:flex;flex-wrap:wrap;gap:4px 20px;padding:6px 12px 8px;align-items:flex-start}
SCOPE table{border-collapse:collapse;border:0;margin:0;background:none;color:inherit;font:inherit;\
table-layout:auto;flex:0 1 auto;min-width:0;max-width:100%}
SCOPE tr,SCOPE tbody tr:nth-child(odd),SCOPE tbody tr:hover{background:none}
SCOPE th,SCOPE td{padding:1px 0;border:0;vertical-align:top;text-align:left;background:none;white-space:normal;\
max-width:none;font-size:inherit;line-height:inherit}
SCOPE th{padding-right:14px;font-weight:400;color:var(--dk-dim);white-space:nowrap}
SCOPE td{color:inherit;overflow-wrap:anywhere;word-break:normal;font-variant-numeric:tabular-nums;max-width:56ch}
@media (max-width:480px){SCOPE th{white-space:normal;overflow-wrap:anywhere;min-width:5em}}
SCOPE .dk-wrong th,SCOPE .dk-wrong td{font-weight:600}
SCOPE .dk-wrong th::before{content:"✗ ";color:#e5534b}
SCOPE bdi{unicode-bidi:isolate}
SCOPE .dk-drawing{flex:0 0 auto;max-width:100%;overflow-x:auto;overflow-y:hidden}
SCOPE svg{display:block;overflow:visible;stroke:currentColor!important;color:inherit}
SCOPE svg text{fill:currentColor;stroke:none;font-size:11px;font-weight:400}
"""

_DARK = "--dk-ink-own:#e6edf3;--dk-dim-own:#9198a1;--dk-paper-own:#161b22;--dk-head-own:#21262d;--dk-edge-own:#3d444d"

_WRITTEN = _RULES.strip().replace("DARK", _DARK)

SCOPE = f"daskaug-{zlib.crc32(_WRITTEN.encode()):08x}"
"""The class that the rules are about. Another release has other rules, and its cards may stand on the same page."""

STYLE = f"<style>{_WRITTEN.replace('SCOPE', f'.{SCOPE}')}</style>"
