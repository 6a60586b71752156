"""The admin UI: pages written on the server, charts drawn there from stored numbers, nothing foreign on them.

`controlplane.ui.pages.mount` adds it to the control plane's application, behind the application's door.
"""
