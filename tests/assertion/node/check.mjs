// Verifies assertions with what docs/assertion.md shows for Node; prints what became of each as one line of JSON.
// Arguments: the module that was cut out of the page, and the assertions.
const [page, ...assertions] = process.argv.slice(2);
const { caller } = await import(page);

const found = [];
for (const assertion of assertions) {
  found.push(
    await caller(assertion).then(
      (claims) => ({ claims }),
      (fault) => ({ refused: fault.code ?? fault.name }),
    ),
  );
}
console.log(JSON.stringify(found));
