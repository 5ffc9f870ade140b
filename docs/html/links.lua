-- SPDX-License-Identifier: LGPL-2.1-or-later
-- Lets links of the Markdown pages lead to the HTML ones, and those to other
-- files of the source tree to its repository. For pandoc, with the metadata
-- `page` (the page's path from the root of the tree) and `origin` (a URL).

local names = {['README.md'] = 'readme.html', ['docs/README.md'] = 'index.html'}
local page, origin

local function path_from_root (target)
  local path = (page:match ('^.*/') or '') .. target
  local found
  repeat
    path, found = path:gsub ('[^/]+/%.%./', '')
  until found == 0
  return path
end

local function lead (target)
  if target == '' or target:match ('^#') or target:match ('^%a+:') then
    return target
  end
  local file, fragment = target:match ('^([^#]*)(.*)$')
  local path = path_from_root (file)
  local name = names[path] or path:gsub ('^docs/([%w-]+)%.md$', '%1.html')
  if name == path then
    name = path:match ('^docs/images/(.*)$') or origin .. '/blob/main/' .. path
  end
  return name .. fragment
end

local function read_metadata (document)
  page = pandoc.utils.stringify (document.meta.page)
  origin = pandoc.utils.stringify (document.meta.origin)
end

local function lead_link (link)
  link.target = lead (link.target)
  return link
end

local function lead_image (image)
  image.src = lead (image.src)
  return image
end

return {{Pandoc = read_metadata}, {Link = lead_link, Image = lead_image}}
