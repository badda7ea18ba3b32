(() => {
  'use strict';
  const key = (row, column) => {
    const cell = row.cells[column];
    const sort = cell.dataset.sort;
    if (sort === undefined) return cell.textContent.trim().toLowerCase();
    return sort === '' ? null : Number(sort);
  };
  const compare = (a, b) => (typeof a === 'string' ? a.localeCompare(b) : a - b);
  document.querySelectorAll('table.sortable').forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[table.tBodies.length - 1];
    heads.forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const rows = [...body.rows];
        const numeric = rows.some((row) => row.cells[column].dataset.sort);
        const before = head.getAttribute('aria-sort');
        // Numbers start with the largest, words with the first.
        const down = before ? before === 'ascending' : numeric;
        rows.sort((x, y) => {
          const [a, b] = [key(x, column), key(y, column)];
          // What was not measured stays at the end either way.
          if (a === null || b === null) return (a === null) - (b === null);
          return down ? compare(b, a) : compare(a, b);
        });
        heads.forEach((other) => other.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        body.append(...rows);
        table.dataset.sorted = String(column);
      });
    });
    table.dataset.sortable = 'ready';
  });
})();
