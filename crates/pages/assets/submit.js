// Submits the page's one form. The method is taken from the prototype, since a field may be named `submit`.
const form = document.querySelector("form");
if (form) HTMLFormElement.prototype.submit.call(form);
