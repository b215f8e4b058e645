#!/bin/sh
# Fetches what the page with the flow component serves (needs npm) and keeps the few files that browsers ask for.
# Which packages, of which version and content, says package-lock.json; whatever does not match its hash is not taken.
set -eu
cd "$(dirname "$0")"
npm ci --omit=dev
from=node_modules/@descope
rm -rf files.new
mkdir -p files.new/ui/fonts
cp "$from/web-component/dist/index.js" files.new/web-component.js
cp "$from/web-component/LICENSE" files.new/LICENSE.txt
cp "$from/web-components-ui/LICENSE" files.new/ui/LICENSE.txt
cp "$from"/web-components-ui/dist/umd/*.js "$from"/web-components-ui/dist/umd/*.LICENSE.txt files.new/ui/
cp "$from"/web-components-ui/dist/umd/fonts/* files.new/ui/fonts/
rm -f files.new/ui/DescopeDev.js # for whoever develops the components
# -n: no name and date inside, so that the same files give the same bytes everywhere.
find files.new -name '*.js' -exec gzip -9 -n -k {} +
rm -rf files
mv files.new files
rm -rf node_modules
